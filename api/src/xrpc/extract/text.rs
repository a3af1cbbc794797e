//! Text that can be stored.

use serde::{Deserialize, Deserializer, Serialize, de};

/// Text without NUL, which text in Postgres cannot have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct PlainText(pub String);

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('\0') { Err(de::Error::custom("must not contain NUL")) } else { Ok(Self(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::PlainText;

    #[test]
    fn only_nul_is_refused() {
        let read = |json: &str| serde_json::from_str::<PlainText>(json).map(|text| text.0).ok();
        assert_eq!(read(r#""a\u0001 \u00e4""#).as_deref(), Some("a\u{1} ä"));
        assert_eq!(read(r#""a\u0000""#), None);
    }
}
