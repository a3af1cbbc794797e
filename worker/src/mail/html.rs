//! A text for those who do not read HTML.

/// Elements that begin a new line.
const LINES: [&str; 4] = ["br", "tr", "li", "div"];
/// Elements that stand apart.
const BLOCKS: [&str; 14] =
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr", "section"];
/// Elements whose content is nothing to read.
const UNREAD: [&str; 4] = ["style", "script", "head", "title"];

/// What somebody reads of an HTML mail, links with their targets. A text without any tag stays as it is.
pub(super) fn to_text(html: &str) -> String {
    if !html.contains('<') {
        return unescape(html).trim().to_owned();
    }
    let mut writer = Writer::default();
    let mut rest = html;
    while let Some((before, tail)) = rest.split_once('<') {
        writer.text(before);
        rest = if let Some(comment) = tail.strip_prefix("!--") {
            comment.split_once("-->").map_or("", |(_, rest)| rest)
        } else if is_tag(tail) {
            // One that does not end is nothing to read.
            let (tag, after) = tail.split_once('>').unwrap_or((tail, ""));
            let name = tag_name(tag);
            writer.tag(tag, &name);
            if UNREAD.contains(&name.as_str()) { after_end(after, &name) } else { after }
        } else {
            writer.text("<");
            tail
        };
    }
    writer.text(rest);
    writer.text
}

/// Whether a `<` before this begins a tag.
fn is_tag(tail: &str) -> bool {
    tail.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!')
}

fn tag_name(tag: &str) -> String {
    let name = tag.trim_start_matches('/').split(|c: char| c.is_whitespace() || c == '/').next();
    name.unwrap_or_default().to_ascii_lowercase()
}

/// What follows the end of an element.
fn after_end<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some((_, tail)) = rest.split_once("</") {
        let is_end = tail.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
        if is_end {
            return tail.split_once('>').map_or("", |(_, rest)| rest);
        }
        rest = tail;
    }
    ""
}

#[derive(Default)]
struct Writer {
    text: String,
    /// Line breaks and spaces that the next word needs before it.
    breaks: usize,
    space: bool,
    /// The link that is open: its target, and where its text begins.
    link: Option<(String, usize)>,
}

impl Writer {
    fn text(&mut self, html: &str) {
        let text = unescape(html);
        self.space |= text.starts_with(char::is_whitespace);
        for word in text.split_whitespace() {
            self.word(word);
            self.space = true;
        }
        if !text.is_empty() {
            self.space = text.ends_with(char::is_whitespace) || self.space && text.trim().is_empty();
        }
    }

    fn word(&mut self, word: &str) {
        if self.breaks > 0 && !self.text.is_empty() {
            self.text.extend(std::iter::repeat_n('\n', self.breaks));
        } else if self.space && !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push(' ');
        }
        (self.breaks, self.space) = (0, false);
        self.text.push_str(word);
    }

    fn tag(&mut self, tag: &str, name: &str) {
        if BLOCKS.contains(&name) {
            self.breaks = self.breaks.max(2);
        } else if LINES.contains(&name) {
            self.breaks = self.breaks.max(1);
        }
        match (name, tag.starts_with('/')) {
            ("li", false) => {
                self.word("*");
                self.space = true;
            }
            ("a", false) => self.link = target(tag).map(|target| (target, self.text.len())),
            ("a", true) => {
                if let Some((target, start)) = self.link.take()
                    && !self.text[start..].contains(&target)
                {
                    self.space = true;
                    self.word(&format!("({target})"));
                }
            }
            _ => {}
        }
    }
}

/// Where a link leads, if that is anywhere one could go.
fn target(tag: &str) -> Option<String> {
    let at = tag.to_ascii_lowercase().find("href=")?;
    let value = &tag[at + "href=".len()..];
    let target = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split_whitespace().next()?,
    };
    let target = unescape(target);
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)).then_some(target)
}

fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('&') {
        result.push_str(before);
        // The longest that we know is shorter than this.
        let end = tail.bytes().take(10).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((entity(&tail[..end])?, &tail[end + 1..])));
        let (c, after) = found.unwrap_or(('&', tail));
        result.push(c);
        rest = after;
    }
    result.push_str(rest);
    result
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| !c.is_control() || *c == '\n')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_kept_in_its_lines() {
        for (html, text) in [
            ("<p>Hello <b>you</b>,</p>\n<p>bye.<br>We</p>", "Hello you,\n\nbye.\nWe"),
            ("<ul><li>one</li><li>two</li></ul>end", "* one\n* two\n\nend"),
            ("a<!-- <p>no</p> -->b<style>p { x }</style>c", "abc"),
            ("<head><title>no</title></head><body>yes</body>", "yes"),
            ("5 &lt; 6 &amp; 7 &#62; 6&nbsp;&#x21; &unknown; &", "5 < 6 & 7 > 6 ! &unknown; &"),
            ("<p>1 < 2</p>", "1 < 2"),
            ("<a href=\"https://a.test/?x=1&amp;y=2\">here</a>!", "here (https://a.test/?x=1&y=2)!"),
            ("<a href='https://a.test'>https://a.test</a>", "https://a.test"),
            ("<a href=javascript:x>x</a>", "x"),
            ("no tags\n at all &amp; so", "no tags\n at all & so"),
            ("<p>unfinished", "unfinished"),
            ("<script>never ends", ""),
            ("<A HREF=https://a.test>ü</A>", "ü (https://a.test)"),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn nothing_that_a_moderator_types_takes_long_or_fails() {
        for piece in ["<", "<a href=", "&", "&#", "<!--", "<style>", "</", "<p>é", "\u{0}<"] {
            let _ = to_text(&piece.repeat(20_000));
        }
    }
}
