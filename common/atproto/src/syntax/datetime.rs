//! Points in time as records and events write them.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::text::string_type;

/// Longest datetime in bytes.
const MAX_LEN: usize = 64;

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// Days in 400 years of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;

/// A point in time with date, time and zone (`2026-10-03T12:30:00.123Z`), at most 64 bytes, kept as it was written.
///
/// It has to satisfy RFC 3339 and ISO 8601, with upper-case `T` and `Z`, whole seconds, and a year from 0000 to 9999.
/// Its order is the order of the texts. Source: atproto.com/specs/lexicon, format `datetime`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Datetime(Box<str>);

/// Why a text is not a datetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatetimeError {
    /// Not of the form `YYYY-MM-DDThh:mm:ss[.f…](Z|±hh:mm)`, or more than 64 bytes.
    #[error("datetime must look like 1985-04-12T23:20:50.123Z ({MAX_LEN} bytes max)")]
    Form,
    /// A month, day, hour, minute, second or offset that does not exist, or a time before the year 0.
    #[error("datetime has a part that is out of range")]
    Range,
}

impl Datetime {
    /// Writes a time given in milliseconds since 1970, in UTC with three decimals (the form preferred on the network).
    ///
    /// Times after the year 9999, which the form cannot hold, become its last millisecond.
    pub fn from_unix_millis(millis: u64) -> Self {
        const LAST: u64 = 253_402_300_799_999;
        let millis = i64::try_from(millis.min(LAST)).unwrap_or_default();
        let (year, month, day) = civil_from_days(millis.div_euclid(MILLIS_PER_DAY));
        let time = millis.rem_euclid(MILLIS_PER_DAY);
        let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
        let (second, fraction) = (time / 1000 % 60, time % 1000);
        Self(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z").into())
    }

    /// Milliseconds since 1970, negative before; finer decimals are cut off.
    pub fn unix_millis(&self) -> i64 {
        parse(&self.0).unwrap_or_default()
    }

    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        parse(text).is_ok()
    }
}

impl FromStr for Datetime {
    type Err = DatetimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)?;
        Ok(Self(text.into()))
    }
}

string_type!(Datetime);

/// Reads a datetime as milliseconds since 1970.
fn parse(text: &str) -> Result<i64, DatetimeError> {
    if text.len() > MAX_LEN {
        return Err(DatetimeError::Form);
    }
    let mut rest = Cursor(text.as_bytes());
    let year = rest.number(4, 0..=9999)?;
    rest.literal(b'-')?;
    let month = rest.number(2, 1..=12)?;
    rest.literal(b'-')?;
    let day = rest.number(2, 1..=days_in_month(year, month))?;
    rest.literal(b'T')?;
    let hour = rest.number(2, 0..=23)?;
    rest.literal(b':')?;
    let minute = rest.number(2, 0..=59)?;
    rest.literal(b':')?;
    // Reference: leap seconds are refused, because JavaScript's dates have none.
    let second = rest.number(2, 0..=59)?;
    let fraction = rest.fraction_millis()?;
    let offset_minutes = rest.offset_minutes()?;
    if !rest.0.is_empty() {
        return Err(DatetimeError::Form);
    }
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    if minutes < days_from_civil(0, 1, 1) * 24 * 60 {
        return Err(DatetimeError::Range);
    }
    Ok((minutes * 60 + second) * 1000 + fraction)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn literal(&mut self, expected: u8) -> Result<(), DatetimeError> {
        match self.0.split_first() {
            Some((&byte, rest)) if byte == expected => {
                self.0 = rest;
                Ok(())
            }
            _ => Err(DatetimeError::Form),
        }
    }

    fn number(&mut self, digits: usize, range: RangeInclusive<i64>) -> Result<i64, DatetimeError> {
        let (number, rest) = self.0.split_at_checked(digits).ok_or(DatetimeError::Form)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return Err(DatetimeError::Form);
        }
        self.0 = rest;
        let value = number.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        if range.contains(&value) { Ok(value) } else { Err(DatetimeError::Range) }
    }

    /// The decimals of the second, if any, cut to milliseconds.
    fn fraction_millis(&mut self) -> Result<i64, DatetimeError> {
        if self.literal(b'.').is_err() {
            return Ok(0);
        }
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len == 0 {
            return Err(DatetimeError::Form);
        }
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
        Ok(padded.take(3).fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    /// The zone: `Z`, or an offset, of which `-00:00` ("unknown") is not allowed.
    fn offset_minutes(&mut self) -> Result<i64, DatetimeError> {
        let sign = match self.0.first() {
            Some(b'Z') => 0,
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(DatetimeError::Form),
        };
        self.0 = &self.0[1..];
        if sign == 0 {
            return Ok(0);
        }
        let hours = self.number(2, 0..=23)?;
        self.literal(b':')?;
        let minutes = hours * 60 + self.number(2, 0..=59)?;
        if sign < 0 && minutes == 0 { Err(DatetimeError::Form) } else { Ok(sign * minutes) }
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date. Counts in years that begin in March, so that the leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970
}

/// The date that is this many days after 1970-01-01, as year, month and day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1985-04-12T23:20:50.123Z", 482_196_050_123),
            ("2000-02-29T00:00:00.999999Z", 951_782_400_999),
            ("1970-01-01T01:00:00.5+01:00", 500),
            ("1969-12-31T23:59:59-00:01", 59_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            let datetime: Datetime = text.parse().unwrap();
            assert_eq!(datetime.unix_millis(), millis, "{text}");
            assert_eq!(datetime.as_str(), text);
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("1985-04-12T23:20:50.123z", DatetimeError::Form),
            ("1985-04-12T23:20:50.Z", DatetimeError::Form),
            ("1985-04-12T23:20:50-00:00", DatetimeError::Form),
            ("1985-04-12T23:20:50", DatetimeError::Form),
            ("1985-04-12T23:20Z", DatetimeError::Form),
            ("1985-04-12T23:20:50Z ", DatetimeError::Form),
            ("1985-13-12T23:20:50Z", DatetimeError::Range),
            ("1985-02-29T23:20:50Z", DatetimeError::Range),
            ("1900-02-29T23:20:50Z", DatetimeError::Range),
            ("1985-04-12T24:00:00Z", DatetimeError::Range),
            ("1985-04-12T23:20:60Z", DatetimeError::Range),
            ("1985-04-12T23:20:50+24:00", DatetimeError::Range),
            ("0000-01-01T00:00:00+01:00", DatetimeError::Range),
        ] {
            assert_eq!(text.parse::<Datetime>(), Err(error), "{text}");
        }
        assert_eq!(format!("1985-04-12T23:20:50.{}Z", "1".repeat(50)).parse::<Datetime>(), Err(DatetimeError::Form));
    }

    #[test]
    fn times_after_the_last_year_are_held_at_its_end() {
        assert_eq!(Datetime::from_unix_millis(u64::MAX).as_str(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn written_times_read_back(millis in 0u64..253_402_300_800_000) {
            let written = Datetime::from_unix_millis(millis);
            prop_assert_eq!(written.as_str().len(), 24);
            prop_assert_eq!(written.as_str().parse::<Datetime>().unwrap().unix_millis(), i64::try_from(millis).unwrap());
        }
    }
}
