//! Fields of input.

use serde::{Deserialize, Deserializer};

/// Reads a field that may be left out but must not be `null`, which is what lexicons mean by optional.
///
/// Used as `#[serde(default, deserialize_with = "present")] rkey: Option<RecordKey>`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
