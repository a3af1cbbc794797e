//! A mail as it goes over the wire.

use std::time::SystemTime;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use sha2::{Digest as _, Sha256};

use super::session::{Failure, Step};
use super::{Sender, html};

/// Characters of a subject at most.
const SUBJECT_LIMIT: usize = 500;

/// A mail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// Whose it is.
    pub sender: Sender,
    /// The address it goes to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The part with HTML.
    pub html: String,
    /// The part without.
    pub text: String,
    /// The language, if it is known.
    pub language: Option<&'static str>,
    /// What is the same if the mail is sent again, and different otherwise.
    pub identity: String,
}

impl Mail {
    /// A moderator's mail: HTML as it is, and a text made from it.
    pub fn from_moderator(to: String, subject: String, html: String, identity: String) -> Self {
        let text = html::to_text(&html);
        Self { sender: Sender::Moderation, to, subject, html, text, language: None, identity }
    }

    /// The message, dated `now`. Its id is the same each time, so that a repeat can be recognised.
    pub(super) fn to_message(&self, from: &Mailbox, hostname: &str, now: DateTime<Utc>) -> Result<Message, Failure> {
        let hopeless = |text: String| Failure { step: Step::Write, text, is_permanent: true };
        let to: Address = self.to.parse().map_err(|error| hopeless(format!("the address is none: {error}")))?;
        let mut builder = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to))
            .subject(one_line(&self.subject))
            .date(SystemTime::from(now))
            .message_id(Some(self.message_id(hostname)));
        if let Some(language) = self.language {
            builder = builder.raw_header(header("Content-Language", language));
        }
        if self.sender == Sender::Service {
            // Nobody wants the answers of machines to machines (RFC 3834; the second is Microsoft's).
            builder = builder.raw_header(header("Auto-Submitted", "auto-generated"));
            builder = builder.raw_header(header("X-Auto-Response-Suppress", "All"));
        }
        let part = |kind, body: &str| SinglePart::builder().header(kind).body(body.to_owned());
        let parts = MultiPart::alternative()
            .singlepart(part(ContentType::TEXT_PLAIN, &self.text))
            .singlepart(part(ContentType::TEXT_HTML, &self.html));
        builder.multipart(parts).map_err(|error| hopeless(format!("cannot be written: {error}")))
    }

    fn message_id(&self, hostname: &str) -> String {
        let digest = Sha256::digest(format!("{}\n{}", self.to, self.identity));
        format!("<{}@{hostname}>", HEXLOWER.encode(&digest[..16]))
    }
}

/// The sender: an address, which then gets `name`, or `Name <address>`.
pub(super) fn sender(text: &str, name: &str) -> anyhow::Result<Mailbox> {
    let mut mailbox: Mailbox = text.trim().parse().context("is neither an address nor Name <address>")?;
    mailbox.name.get_or_insert_with(|| one_line(name));
    Ok(mailbox)
}

/// Without what could begin another line of the header.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_LIMIT).collect();
    line.trim().to_owned()
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    fn mail() -> Mail {
        Mail {
            sender: Sender::Service,
            to: "alice@mail.test".to_owned(),
            subject: "Grüße".to_owned(),
            html: "<p>Schöne Grüße</p>".to_owned(),
            text: "Schöne Grüße\n.\nFrom here".to_owned(),
            language: Some("de"),
            identity: "1".to_owned(),
        }
    }

    fn written(mail: &Mail) -> Vec<u8> {
        let from = sender("pds@pds.test", "Our \"PDS\"").unwrap();
        mail.to_message(&from, "pds.test", DateTime::UNIX_EPOCH).unwrap().formatted()
    }

    #[test]
    fn others_read_what_was_written() {
        let bytes = written(&mail());
        assert!(bytes.is_ascii(), "every server takes it");
        let read = MessageParser::default().parse(&bytes).unwrap();
        assert_eq!(read.subject(), Some("Grüße"));
        assert_eq!(read.from().unwrap().first().unwrap().name(), Some("Our \"PDS\""));
        assert_eq!(read.to().unwrap().first().unwrap().address(), Some("alice@mail.test"));
        assert_eq!(read.date().unwrap().to_timestamp(), 0);
        assert_eq!(read.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
        assert_eq!(read.header_raw("Content-Language").map(str::trim), Some("de"));
        assert_eq!(read.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), "Schöne Grüße\n.\nFrom here");
        assert_eq!(read.body_html(0).unwrap().trim_end(), "<p>Schöne Grüße</p>");
    }

    #[test]
    fn the_id_is_the_same_each_time_and_different_for_another_mail() {
        let id = |mail: &Mail| {
            let bytes = written(mail);
            MessageParser::default().parse(&bytes).unwrap().message_id().unwrap().to_owned()
        };
        let other = Mail { identity: "2".to_owned(), ..mail() };
        assert_eq!(id(&mail()), id(&mail()));
        assert_ne!(id(&mail()), id(&other));
        assert!(id(&mail()).ends_with("@pds.test"));
    }

    #[test]
    fn nothing_gets_into_the_header() {
        let subject = "hi\r\nBcc: eve@mail.test\r\n\r\nbody\u{0}";
        let bytes = written(&Mail { subject: subject.to_owned(), ..mail() });
        let read = MessageParser::default().parse(&bytes).unwrap();
        assert!(read.bcc().is_none());
        assert!(read.subject().unwrap().starts_with("hi  Bcc: eve@mail.test"));
        for to in ["alice@mail.test\r\nBcc: eve@mail.test", "alice@mail.test>\r\nRCPT TO:<eve@mail.test", "nobody", ""]
        {
            let from = sender("pds@pds.test", "x").unwrap();
            let bad = Mail { to: to.to_owned(), ..mail() };
            assert!(bad.to_message(&from, "pds.test", DateTime::UNIX_EPOCH).unwrap_err().is_permanent, "{to}");
        }
        let name = sender("pds@pds.test", "x\r\nBcc: eve@mail.test").unwrap();
        let bytes = mail().to_message(&name, "pds.test", DateTime::UNIX_EPOCH).unwrap().formatted();
        assert!(MessageParser::default().parse(&bytes).unwrap().bcc().is_none());
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        assert_eq!(sender("pds@pds.test", "PDS").unwrap().to_string(), "PDS <pds@pds.test>");
        assert_eq!(sender("Mine <pds@pds.test>", "PDS").unwrap().to_string(), "Mine <pds@pds.test>");
        assert_eq!(sender("rookery@localhost", "PDS").unwrap().email.to_string(), "rookery@localhost");
        assert!(sender("nobody", "PDS").is_err());
    }
}
