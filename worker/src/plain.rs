//! Text of strangers, made fit for terminals and logs.
//!
//! A terminal obeys control characters: they clear it, colour it, or move the cursor to write over what was said before.
//! Others turn the direction of the text, or are not to be seen. None of them belongs in what an operator reads.

use std::fmt::{self, Display, Write};

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
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
    fn lines_of_ours_stay_lines() {
        assert_eq!(Lines(EVIL).to_string(), "a\\u{1b}[2Jb\\r\n\tc\\u{9b}1Ad\\u{202e}e\\u{7f}");
        assert_eq!(Lines(format_args!("{} {}\n", "a\u{0}", 5)).to_string(), "a\\u{0} 5\n");
    }
}
