//! Timestamp identifiers: revs and the usual record keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::deserialize_text;

/// The base32 digits in order; they sort as text the way their values do.
const DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// Characters of the text form.
const TEXT_LEN: usize = 13;

/// Bits of the clock id, the low part of a TID.
const CLOCK_BITS: u32 = 10;

/// Largest clock id.
const MAX_CLOCK_ID: u64 = (1 << CLOCK_BITS) - 1;

/// Largest timestamp: 53 bits, somewhere in the year 2255.
const MAX_MICROS: u64 = (1 << 53) - 1;

/// A timestamp identifier: 53 bits of microseconds since 1970 and 10 bits of clock id, as 13 base32 digits.
///
/// The order of the values is the order of the texts. Source: atproto.com/specs/tid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tid(u64);

/// The text is not 13 digits of the TID alphabet, or more than 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("TID must be {TEXT_LEN} characters of 2-7 and a-z, the first one of 2-7 and a-j")]
pub struct TidError;

impl Tid {
    /// The TID of a time in microseconds since 1970 and a clock id below 1024; higher bits of either are cut off.
    pub const fn from_micros(micros: u64, clock_id: u16) -> Self {
        Self((micros & MAX_MICROS) << CLOCK_BITS | clock_id as u64 & MAX_CLOCK_ID)
    }

    /// A TID strictly greater than `prev`: of the time `now_micros`, or of one microsecond after `prev` if that is later.
    ///
    /// At the very end of the range, in the year 2255, there is none left: the last one is returned, even if it is not
    /// greater. Refuse a `prev` from outside that lies in the future.
    pub fn after(prev: Option<Self>, now_micros: u64, clock_id: u16) -> Self {
        let earliest = prev.map_or(0, |prev| prev.to_micros() + 1);
        Self::from_micros(now_micros.max(earliest).min(MAX_MICROS), clock_id)
    }

    /// True if `text` would parse.
    pub fn is_valid(text: &str) -> bool {
        parse(text).is_some()
    }

    /// Microseconds since 1970.
    pub const fn to_micros(self) -> u64 {
        self.0 >> CLOCK_BITS
    }

    /// The clock id, below 1024.
    pub const fn clock_id(self) -> u16 {
        (self.0 & MAX_CLOCK_ID) as u16
    }

    fn text(self) -> [u8; TEXT_LEN] {
        let mut rest = self.0;
        let mut text = [0; TEXT_LEN];
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(rest & 31) as usize];
            rest >>= 5;
        }
        text
    }
}

fn parse(text: &str) -> Option<u64> {
    let bytes: &[u8; TEXT_LEN] = text.as_bytes().try_into().ok()?;
    let mut value: u64 = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let digit = match byte {
            b'2'..=b'7' => byte - b'2',
            b'a'..=b'z' => byte - b'a' + 6,
            _ => return None,
        };
        // 13 digits hold 65 bits, so the first one has only four. The top bit of the value ought to be zero, but the syntax
        // of the specification lets it pass.
        if i == 0 && digit >= 16 {
            return None;
        }
        value = value << 5 | u64::from(digit);
    }
    Some(value)
}

impl FromStr for Tid {
    type Err = TidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or(TidError)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Tid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

/// Makes TIDs that never repeat or go back, whatever the clock does. The time comes from the caller.
#[derive(Debug, Clone)]
pub struct TidClock {
    clock_id: u16,
    last: Option<Tid>,
}

impl TidClock {
    /// A clock with this id (below 1024); processes that make TIDs for the same repo should have different ones.
    pub fn new(clock_id: u16) -> Self {
        Self { clock_id, last: None }
    }

    /// The TID of `now_micros`, or the one a microsecond after the last if that is later.
    pub fn next(&mut self, now_micros: u64) -> Tid {
        let tid = Tid::after(self.last, now_micros, self.clock_id);
        self.last = Some(tid);
        tid
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        for (text, micros, clock_id) in
            [("2222222222222", 0, 0), ("bzzzzzzzzzzzz", MAX_MICROS, 1023), ("3jzfcijpj2z2a", 1_688_137_381_887_007, 6)]
        {
            let tid: Tid = text.parse().unwrap();
            assert_eq!((tid.to_micros(), tid.clock_id()), (micros, clock_id), "{text}");
            assert_eq!(tid.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "222", "3jzfcijpj2z21", "3JZFCIJPJ2Z2A", "3jzfcijpj2z2aa", "kjzfcijpj2z2a", "3jzf-cij-pj2z-2"]
        {
            assert_eq!(text.parse::<Tid>(), Err(TidError), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_range_does_not_wrap() {
        let greatest = Tid::from_micros(MAX_MICROS, 3);
        assert_eq!(Tid::after(Some(greatest), 0, 3), greatest);
        assert_eq!(Tid::after(None, u64::MAX, 3), greatest);
    }

    proptest! {
        #[test]
        fn text_round_trips_and_keeps_the_order(a in 0..=MAX_MICROS, b in 0..=MAX_MICROS, clock_id in 0u16..1024) {
            let (a, b) = (Tid::from_micros(a, clock_id), Tid::from_micros(b, 1023 - clock_id));
            prop_assert_eq!(a.to_string().parse::<Tid>().unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn a_clock_only_moves_forward(times in prop::collection::vec(0u64..1_000, 1..50)) {
            let mut clock = TidClock::new(7);
            let tids: Vec<Tid> = times.iter().map(|&now| clock.next(now)).collect();
            prop_assert!(tids.is_sorted_by(|a, b| a < b));
            prop_assert!(tids.iter().zip(&times).all(|(tid, &now)| tid.to_micros() >= now));
        }
    }
}
