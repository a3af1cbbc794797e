//! Text of strangers, made fit for terminals and logs.
//!
//! A terminal obeys control characters: they clear it, colour it, or move the cursor to write over what was said before.
//! Others turn the direction of the text, or are not to be seen. None of them belongs in what an operator reads.

use std::fmt::{self, Display, Write};
use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// A text on one line: what is not plain is escaped, line breaks included, and what is too long is cut.
pub fn line(text: &str, max_chars: usize) -> String {
    let mut plain = String::new();
    for c in text.trim().chars().take(max_chars) {
        // Writing to a string does not fail.
        let _ = write_plain(&mut plain, c);
    }
    plain
}

/// Lines of our own with words of others in them: line breaks and tabs stay, what else is not plain is escaped.
#[derive(Clone, Copy, Debug)]
pub struct Lines<T>(pub T);

impl<T: Display> Display for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter(f), "{}", self.0)
    }
}

struct Filter<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '\n' | '\t' => self.0.write_char(c),
            c => write_plain(self.0, c),
        })
    }
}

fn write_plain(to: &mut impl Write, c: char) -> fmt::Result {
    if is_plain(c) { to.write_char(c) } else { write!(to, "{}", c.escape_default()) }
}

/// False for control characters, and for those that are invisible or turn the direction of the text.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// An object on one line of JSON, in whose texts all that is not plain is escaped: the same for a program that reads it, and
/// harmless for a terminal, where it ends up all the same.
///
/// # Errors
/// If it cannot be told as JSON.
pub fn json(object: &impl Serialize) -> serde_json::Result<String> {
    let mut line = Vec::new();
    object.serialize(&mut Serializer::with_formatter(&mut line, PlainFormatter(CompactFormatter)))?;
    String::from_utf8(line).map_err(serde::ser::Error::custom)
}

/// Escapes what JSON itself would leave in a text.
struct PlainFormatter(CompactFormatter);

impl Formatter for PlainFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_plain(*c)) {
            self.0.write_string_fragment(to, &rest[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(to, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_string_fragment(to, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}[2Jb\r\n\tc\u{9b}1Ad\u{202e}e\u{7f}";

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(line(EVIL, 100), "a\\u{1b}[2Jb\\r\\n\\tc\\u{9b}1Ad\\u{202e}e\\u{7f}");
        assert_eq!(line("  Grüße, 世界 \n", 100), "Grüße, 世界");
        assert_eq!(line("abc", 2), "ab");
    }

    #[test]
    fn json_says_the_same_and_is_plain() {
        let object = serde_json::json!({ EVIL: ["Grüße, 世界 🐦 \"\\", "tag\u{e0041}\u{ad}\u{9b}\u{200f}", 5, null] });
        let line = json(&object).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), object);
        assert!(line.chars().all(is_plain), "{line}");
        let texts = r#"["Grüße, 世界 🐦 \"\\","tag\udb40\udc41\u00ad\u009b\u200f",5,null]}"#;
        assert!(line.ends_with(texts) && line.contains(r"c\u009b1Ad\u202ee\u007f"), "{line}");
    }

    #[test]
    fn lines_of_ours_stay_lines() {
        assert_eq!(Lines(EVIL).to_string(), "a\\u{1b}[2Jb\\r\n\tc\\u{9b}1Ad\\u{202e}e\\u{7f}");
        assert_eq!(Lines(format_args!("{} {}\n", "a\u{0}", 5)).to_string(), "a\\u{0} 5\n");
    }
}
