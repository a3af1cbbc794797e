//! A mail as its reader sees it.

use mail_parser::MessageParser;

/// A mail as its reader sees it. What it lacks is empty.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Received {
    /// The recipients of the envelope.
    pub to: String,
    /// Name and address of the sender.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The `Message-ID`.
    pub id: String,
    /// The part for those who do not read HTML.
    pub text: String,
    /// The part in HTML.
    pub html: String,
    /// All of it, as it came.
    pub source: Vec<u8>,
}

impl Received {
    /// Reads a mail as another program would.
    pub(super) fn parse(source: Vec<u8>) -> Self {
        let Some(message) = MessageParser::default().parse(&source) else { return Self { source, ..Self::default() } };
        let from = message.from().and_then(|from| from.first()).map(|from| {
            format!("{} <{}>", from.name().unwrap_or_default(), from.address().unwrap_or_default()).trim().to_owned()
        });
        let header = |name: &str| message.header_raw(name).unwrap_or_default().trim().to_owned();
        let lines = |text: std::borrow::Cow<'_, str>| text.replace("\r\n", "\n");
        Self {
            to: header("X-Envelope-To").replace(['<', '>'], ""),
            from: from.unwrap_or_default(),
            subject: message.subject().unwrap_or_default().to_owned(),
            id: message.message_id().unwrap_or_default().to_owned(),
            text: message.body_text(0).map(lines).unwrap_or_default(),
            html: message.body_html(0).map(lines).unwrap_or_default(),
            source,
        }
    }

    /// The code in it, of the form `XXXXX-XXXXX`.
    pub fn code(&self) -> Option<&str> {
        let is_half = |half: &str| half.len() == 5 && half.bytes().all(|c| matches!(c, b'A'..=b'Z' | b'2'..=b'7'));
        let is_code = |word: &&str| word.split_once('-').is_some_and(|(one, other)| is_half(one) && is_half(other));
        self.text.split_whitespace().find(is_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_as_its_reader_sees_it() {
        let source = "Return-Path: <a@x.test>\r\nX-Envelope-To: <b@y.test>\r\nFrom: PDS <a@x.test>\r\n\
            Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nMessage-ID: <1@x.test>\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nYour code: ABCDE-=\r\n23456\r\nsch=C3=B6n\r\n";
        let read = Received::parse(source.into());
        assert_eq!(
            (read.to.as_str(), read.from.as_str(), read.id.as_str()),
            ("b@y.test", "PDS <a@x.test>", "1@x.test")
        );
        assert_eq!((read.subject.as_str(), read.text.as_str()), ("Grüße", "Your code: ABCDE-23456\nschön\n"));
        assert_eq!(read.code(), Some("ABCDE-23456"));
        assert_eq!(Received::parse(Vec::new()).code(), None);
    }
}
