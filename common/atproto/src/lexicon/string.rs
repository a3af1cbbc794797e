//! Strings: length in bytes, length in graphemes, format.

use unicode_segmentation::UnicodeSegmentation;

use super::issue::Issue;
use super::schema::{Bounds, StringRule};
use super::validate::check_length;

pub(super) fn check_string(rule: &StringRule, text: &str) -> Result<(), Issue> {
    check_length(rule.length, "string", text.len())?;
    check_graphemes(rule.graphemes, text)?;
    match rule.format {
        Some(format) if !format.matches(text) => Err(Issue::bad_format(text, format.name())),
        _ => Ok(()),
    }
}

/// Counts graphemes only if the number of bytes, which is never smaller, leaves the question open.
fn check_graphemes(bounds: Bounds, text: &str) -> Result<(), Issue> {
    if bounds.min == 0 && text.len() <= bounds.max {
        return Ok(());
    }
    check_length(bounds, "grapheme", count_graphemes(text))
}

fn count_graphemes(text: &str) -> usize {
    if text.is_ascii() {
        // The one cluster of several ASCII characters is the Windows line break.
        return text.len() - text.matches("\r\n").count();
    }
    text.graphemes(true).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphemes_are_what_a_reader_counts() {
        for (text, count) in
            [("", 0), ("abc", 3), ("a\r\nb", 3), ("\n\r", 2), ("e\u{301}", 1), ("👩‍👩‍👦‍👦", 1), ("🇩🇪🏳️‍🌈", 2), ("한국어", 3)]
        {
            assert_eq!(count_graphemes(text), count, "{text:?}");
        }
    }

    #[test]
    fn the_quick_count_agrees_with_the_full_one() {
        for text in ["plain", "\r\n\r\n", "\r\r\n\n", "tab\tand\0nul", "\u{7f}"] {
            assert_eq!(count_graphemes(text), text.graphemes(true).count(), "{text:?}");
        }
    }
}
