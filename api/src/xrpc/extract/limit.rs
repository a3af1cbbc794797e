//! Page sizes.

use serde::{Deserialize, Deserializer, de};

/// A page size from `MIN` to `MAX`; outside them the request is refused. `DEFAULT` stands for an absent one.
///
/// Used as `#[serde(default)] limit: Limit<1, 100, 50>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit<const MIN: u16, const MAX: u16, const DEFAULT: u16>(u16);

impl<const MIN: u16, const MAX: u16, const DEFAULT: u16> Limit<MIN, MAX, DEFAULT> {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl<const MIN: u16, const MAX: u16, const DEFAULT: u16> Default for Limit<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de, const MIN: u16, const MAX: u16, const DEFAULT: u16> Deserialize<'de> for Limit<MIN, MAX, DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u16::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ if number < i64::from(MIN) => Err(de::Error::custom(format_args!("must not be less than {MIN}"))),
            _ => Err(de::Error::custom(format_args!("must not be greater than {MAX}"))),
        }
    }
}
