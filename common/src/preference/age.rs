//! From a birth date to the ages that count.

use atproto::syntax::Datetime;
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::DECLARED_AGE;

/// `app.bsky.actor.defs#declaredAgePref`.
#[derive(Serialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeclaredAge {
    #[serde(rename = "$type")]
    kind: &'static str,
    is_over_age13: bool,
    is_over_age16: bool,
    is_over_age18: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersonalDetails {
    birth_date: Option<Datetime>,
}

/// Which ages somebody with these personal details has reached by `now`, in UTC; `None` without a birth date.
pub(super) fn declared(details: &str, now: DateTime<Utc>) -> Option<DeclaredAge> {
    let details: PersonalDetails = serde_json::from_str(details).ok()?;
    let born = DateTime::from_timestamp_millis(details.birth_date?.unix_millis())?;
    let age = full_years(born.date_naive(), now.date_naive());
    Some(DeclaredAge {
        kind: DECLARED_AGE,
        is_over_age13: age >= 13,
        is_over_age16: age >= 16,
        is_over_age18: age >= 18,
    })
}

/// Birthdays since the first day. Who was born on 29 February has theirs on 1 March in other years.
fn full_years(born: NaiveDate, today: NaiveDate) -> i32 {
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    today.year() - born.year() - i32::from(!had_birthday)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ages(birth_date: &str, now: &str) -> Option<[bool; 3]> {
        let details = json!({ "$type": "app.bsky.actor.defs#personalDetailsPref", "birthDate": birth_date });
        let age = declared(&details.to_string(), now.parse().unwrap())?;
        Some([age.is_over_age13, age.is_over_age16, age.is_over_age18])
    }

    #[test]
    fn ages_are_reached_on_the_birthday() {
        for (born, now, expected) in [
            ("2010-05-20T00:00:00.000Z", "2023-05-19T23:59:59Z", [false, false, false]),
            ("2010-05-20T00:00:00.000Z", "2023-05-20T00:00:00Z", [true, false, false]),
            ("2010-05-20T00:00:00.000Z", "2026-05-20T00:00:00Z", [true, true, false]),
            ("2010-05-20T00:00:00.000Z", "2028-05-20T00:00:00Z", [true, true, true]),
            ("2008-02-29T00:00:00.000Z", "2026-02-28T12:00:00Z", [true, true, false]),
            ("2008-02-29T00:00:00.000Z", "2026-03-01T00:00:00Z", [true, true, true]),
            ("2040-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z", [false, false, false]),
            ("0000-01-01T00:00:00Z", "2026-01-01T00:00:00Z", [true, true, true]),
        ] {
            assert_eq!(ages(born, now), Some(expected), "{born} {now}");
        }
    }

    #[test]
    fn details_without_a_date_say_nothing() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        for details in ["{}", r#"{"birthDate":null}"#, r#"{"birthDate":"1990"}"#, r#"{"birthDate":7}"#, "[]", ""] {
            assert_eq!(declared(details, now), None, "{details}");
        }
    }
}
