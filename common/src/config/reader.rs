//! Reading variables: the value rules, and the list of everything that is wrong.
//!
//! Value rules (the reference server's): the empty string counts as unset; booleans are `true`, `1`, `false`, `0` and
//! anything else counts as unset; integers are read as a decimal prefix; lists are split at commas and their items are
//! **not** trimmed; durations are whole milliseconds.
//!
//! Settings that the reference does not have are read strictly: nobody has a file in which `50GB` means 50 bytes.

use std::{cell::RefCell, collections::BTreeSet, fmt::Display, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use super::{ConfigError, Key32};

/// Looks variables up and gathers what is wrong with them, so that one start names every bad variable.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
    warnings: Vec<String>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new(), warnings: Vec::new(), asked: RefCell::default() }
    }

    /// The variable as it stands; the empty string counts as unset.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// Whether the variable, or its `_FILE` form, has a value.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.string(name).is_some() || self.string(&format!("{name}_FILE")).is_some()
    }

    pub(super) fn bool(&mut self, name: &str) -> Option<bool> {
        match self.string(name)?.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => {
                self.warn(format!("{name} is neither true nor false; its default applies"));
                None
            }
        }
    }

    /// A whole number by its decimal prefix (`10mb` is 10); out of `T`'s range is a problem.
    pub(super) fn int<T: TryFrom<i128>>(&mut self, name: &str) -> Option<T> {
        let Some(number) = decimal_prefix(&self.string(name)?) else {
            self.warn(format!("{name} is not a number; its default applies"));
            return None;
        };
        let converted = T::try_from(number).ok();
        if converted.is_none() {
            self.problem(name, "is out of range");
        }
        converted
    }

    pub(super) fn millis(&mut self, name: &str) -> Option<Duration> {
        self.int(name).map(Duration::from_millis)
    }

    /// Of our own settings: `true`, `1`, `false` or `0`.
    pub(super) fn strict_bool(&mut self, name: &str) -> Option<bool> {
        match self.string(name)?.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => {
                self.problem(name, "must be true or false");
                None
            }
        }
    }

    /// Of our own settings: a whole number, in digits alone.
    pub(super) fn strict_int<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.string(name)?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.problem(name, "must be a whole number, without a unit");
            return None;
        }
        let number = text.parse().ok();
        if number.is_none() {
            self.problem(name, "is out of range");
        }
        number
    }

    /// Of our own settings: milliseconds.
    pub(super) fn strict_millis(&mut self, name: &str) -> Option<Duration> {
        self.strict_int(name).map(Duration::from_millis)
    }

    /// Items between commas, as they stand; unset is the empty list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.string(name).map(|value| value.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }

    /// A value that must parse when it is set.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let value = self.string(name)?;
        self.parse(name, &value)
    }

    /// What the file that the variable names holds; it must be readable and parse.
    pub(super) fn parsed_file<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let path = self.string(name)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => self.parse(name, &text),
            Err(error) => {
                self.problem(name, format_args!("cannot be read: {error}"));
                None
            }
        }
    }

    /// An absolute `http` or `https` URL.
    pub(super) fn url(&mut self, name: &str) -> Option<Url> {
        let value = self.string(name)?;
        self.http_url(name, &value)
    }

    pub(super) fn url_list(&mut self, name: &str) -> Vec<Url> {
        let items = self.list(name);
        items.iter().filter_map(|item| self.http_url(name, item)).collect()
    }

    /// Networks; an address alone is a network of one.
    ///
    /// Reference: a suffix is accepted and ignored, so only the base address matches.
    pub(super) fn network_list(&mut self, name: &str) -> Vec<IpNet> {
        let items = self.list(name);
        let network = |item: &String| match item.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => self.parse::<IpNet>(name, item).map(|network| network.trunc()),
        };
        items.iter().filter_map(network).collect()
    }

    /// Reports `name` as missing if `value` is `None`, unless something was already reported about it.
    pub(super) fn require<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.problems.iter().any(|problem| problem.starts_with(&format!("{name} "))) {
            self.problem(name, "is required");
        }
        value
    }

    /// A secret from `name`, or from the file that `name_FILE` names (one trailing line break is dropped).
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.secret_text(name).map(|text| SecretString::from(text.as_str()))
    }

    /// 32 bytes as 64 hexadecimal digits.
    pub(super) fn key32(&mut self, name: &str) -> Option<Key32> {
        let text = self.secret_text(name)?;
        let key = Key32::from_hex(&text);
        if key.is_none() {
            self.problem(name, "must be 64 hexadecimal digits");
        }
        key
    }

    /// Any number of keys, each 64 hexadecimal digits, between commas.
    pub(super) fn key32_list(&mut self, name: &str) -> Vec<Key32> {
        let text = self.secret_text(name).unwrap_or_default();
        let items = text.split(',').filter(|item| !item.is_empty());
        let keys: Option<Vec<Key32>> = items.map(Key32::from_hex).collect();
        if keys.is_none() {
            self.problem(name, "must be 64 hexadecimal digits, or several times so many between commas");
        }
        keys.unwrap_or_default()
    }

    pub(super) fn problem(&mut self, name: &str, text: impl Display) {
        self.problems.push(format!("{name} {text}"));
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// `value` if nothing was wrong, else the list of problems.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<(T, Findings), ConfigError> {
        match value {
            Some(value) if self.problems.is_empty() => {
                Ok((value, Findings { warnings: self.warnings, asked: self.asked.into_inner() }))
            }
            _ => Err(ConfigError { problems: self.problems }),
        }
    }

    fn secret_text(&mut self, name: &str) -> Option<Zeroizing<String>> {
        let direct = self.string(name).map(Zeroizing::new);
        let file_variable = format!("{name}_FILE");
        let Some(path) = self.string(&file_variable) else { return direct };
        if direct.is_some() {
            self.problem(name, format_args!("and {file_variable} are both set"));
            return None;
        }
        match std::fs::read_to_string(&path).map(Zeroizing::new) {
            Err(error) => self.problem(&file_variable, format_args!("cannot be read: {error}")),
            Ok(text) => {
                let line =
                    text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
                if !line.is_empty() {
                    return Some(Zeroizing::new(line.to_owned()));
                }
                self.problem(&file_variable, "names an empty file");
            }
        }
        None
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(name, format_args!("has a bad value: {error}"));
                None
            }
        }
    }

    fn http_url(&mut self, name: &str, text: &str) -> Option<Url> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            _ => {
                self.problem(name, "must be an http or https URL");
                None
            }
        }
    }
}

/// What reading found besides the values.
pub(super) struct Findings {
    pub(super) warnings: Vec<String>,
    /// Every name that was looked up, set or not.
    pub(super) asked: BTreeSet<String>,
}

/// The number that starts `text`, after white space and a sign; `None` without a digit there.
fn decimal_prefix(text: &str) -> Option<i128> {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    // More digits than an i128 holds are out of every range we read into.
    let number = if end > 38 { i128::MAX } else { digits[..end].parse().ok()? };
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_decimal_prefixes() {
        let cases = [
            ("10", Some(10)),
            (" 10mb", Some(10)),
            ("+7", Some(7)),
            ("-3", Some(-3)),
            ("1e3", Some(1)),
            ("0x10", Some(0)),
            ("", None),
            ("ten", None),
            ("-", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decimal_prefix(text), expected, "{text:?}");
        }
        assert_eq!(decimal_prefix(&"9".repeat(60)), Some(i128::MAX));
    }

    #[test]
    fn out_of_range_is_a_problem_and_no_number_is_a_warning() {
        let lookup = |name: &str| Some(if name == "BIG" { "70000" } else { "many" }.to_owned());
        let mut reader = Reader::new(&lookup);
        assert_eq!(reader.int::<u16>("BIG"), None);
        assert_eq!(reader.int::<u16>("WORD"), None);
        assert_eq!(reader.problems, ["BIG is out of range"]);
        assert_eq!(reader.warnings, ["WORD is not a number; its default applies"]);
    }

    #[test]
    fn our_own_settings_are_read_strictly() {
        let values =
            [("PLAIN", "07"), ("UNIT", "7d"), ("SIGN", "-7"), ("BIG", "70000"), ("YES", "1"), ("MAYBE", "yes")];
        let lookup = |name: &str| values.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(&lookup);
        assert_eq!(reader.strict_millis("PLAIN"), Some(Duration::from_millis(7)));
        assert_eq!(["UNIT", "SIGN", "BIG", "UNSET"].map(|name| reader.strict_int::<u16>(name)), [None; 4]);
        assert_eq!(["YES", "MAYBE", "UNSET"].map(|name| reader.strict_bool(name)), [Some(true), None, None]);
        let number = "must be a whole number, without a unit";
        let problems = [format!("UNIT {number}"), format!("SIGN {number}"), "BIG is out of range".to_owned()];
        assert_eq!(reader.problems[..3], problems);
        assert_eq!(reader.problems[3..], ["MAYBE must be true or false"]);
        assert!(reader.warnings.is_empty());
    }
}
