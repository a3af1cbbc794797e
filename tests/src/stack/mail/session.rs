//! One client's conversation in SMTP, without the socket: lines in, replies out. Source: RFC 5321.

use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the server says first.
pub(super) const GREETING: &str = "220 localhost Rookery mail catcher\r\n";

/// Bytes of one mail at most.
const MAIL_LIMIT: usize = 10_000_000;
/// Recipients of one mail at most (the least that RFC 5321 section 4.5.3.1.8 allows).
const RECIPIENT_LIMIT: usize = 100;

/// A mail as received.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Mail {
    /// The sender's address; empty for a bounce.
    pub(super) from: String,
    /// The recipients' addresses.
    pub(super) to: Vec<String>,
    /// Header and body, lines ended by CRLF.
    pub(super) text: Vec<u8>,
}

/// What to do after a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Say nothing: the line belonged to a mail.
    Silent,
    /// Say this.
    Reply(String),
    /// Store this mail and say whether that worked.
    Deliver(Mail),
    /// Say this, and encrypt what follows; the conversation begins anew.
    StartTls(String),
    /// Say this and hang up.
    Close(String),
}

/// What a server offers and asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Terms {
    /// Whether encryption is offered.
    pub(super) start_tls: bool,
    /// The user name and password without which it takes no mail.
    pub(super) login: Option<(String, String)>,
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Session {
    terms: Terms,
    has_logged_in: bool,
    place: Place,
}

/// How far it has come.
#[derive(Debug)]
enum Place {
    /// The client has not said who it is.
    New,
    /// Ready for a mail.
    Ready,
    /// Within an envelope.
    Envelope(Mail),
    /// Within a mail's text; `true` once it is too long, when the rest is thrown away.
    Text(Mail, bool),
}

impl Session {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, has_logged_in: false, place: Place::New }
    }

    /// The verb of the next line, or a dot for the one that ends a mail's text.
    pub(super) fn verb(&self, line: &[u8]) -> Option<String> {
        if matches!(self.place, Place::Text(..)) {
            return (line == b".\r\n").then(|| ".".to_owned());
        }
        let line = String::from_utf8_lossy(line);
        // A dot by itself is no command.
        line.split_whitespace().next().filter(|verb| *verb != ".").map(str::to_ascii_uppercase)
    }

    /// Drops the mail whose text has ended, if one has.
    pub(super) fn give_up_text(&mut self) {
        if matches!(self.place, Place::Text(..)) {
            self.place = Place::Ready;
        }
    }

    /// Takes the next line, with its end.
    pub(super) fn step(&mut self, line: &[u8]) -> Step {
        if matches!(self.place, Place::Text(..)) {
            self.text_line(line)
        } else {
            self.command(&String::from_utf8_lossy(line))
        }
    }

    fn command(&mut self, line: &str) -> Step {
        let line = line.trim_end();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.hello(&self.greeting()),
            "HELO" => self.hello("250 localhost"),
            "STARTTLS" if self.terms.start_tls => Step::StartTls("220 go ahead\r\n".to_owned()),
            "AUTH" => self.log_in(rest),
            "MAIL" => self.mail(rest),
            "RCPT" => self.recipient(rest),
            "DATA" => self.data(),
            "RSET" => self.reset(),
            "NOOP" => reply("250 ok"),
            "VRFY" => reply("252 send it and see"),
            "QUIT" => Step::Close("221 bye\r\n".to_owned()),
            _ => reply("500 unknown command"),
        }
    }

    fn greeting(&self) -> String {
        let start_tls = if self.terms.start_tls { "250-STARTTLS\r\n" } else { "" };
        let auth = if self.terms.login.is_some() { "250-AUTH PLAIN\r\n" } else { "" };
        format!("250-localhost\r\n{start_tls}{auth}250-8BITMIME\r\n250-PIPELINING\r\n250 SIZE {MAIL_LIMIT}")
    }

    fn hello(&mut self, answer: &str) -> Step {
        self.place = Place::Ready;
        reply(answer)
    }

    /// Only in the one way that clients of today take: RFC 4616, with the initial response.
    fn log_in(&mut self, rest: &str) -> Step {
        let Some((user, password)) = &self.terms.login else { return reply("502 no need") };
        let shown = rest.strip_prefix("PLAIN ").and_then(|text| STANDARD.decode(text).ok());
        if shown == Some(format!("\0{user}\0{password}").into_bytes()) {
            self.has_logged_in = true;
            reply("235 welcome")
        } else {
            reply("535 5.7.8 wrong user name or password")
        }
    }

    fn mail(&mut self, rest: &str) -> Step {
        let Place::Ready = self.place else { return reply("503 not now") };
        if self.terms.login.is_some() && !self.has_logged_in {
            return reply("530 5.7.0 log in first");
        }
        let Some((from, parameters)) = address(rest, "FROM:") else { return reply("501 MAIL FROM:<address>") };
        let size = parameters.split(' ').find_map(|parameter| parameter.strip_prefix("SIZE=")?.parse::<usize>().ok());
        if size.is_some_and(|size| size > MAIL_LIMIT) {
            return reply("552 too long");
        }
        self.place = Place::Envelope(Mail { from: from.to_owned(), ..Mail::default() });
        reply("250 ok")
    }

    fn recipient(&mut self, rest: &str) -> Step {
        let Place::Envelope(mail) = &mut self.place else { return reply("503 not now") };
        match address(rest, "TO:") {
            None | Some(("", _)) => reply("501 RCPT TO:<address>"),
            Some(_) if mail.to.len() >= RECIPIENT_LIMIT => reply("452 too many recipients"),
            Some((to, _)) => {
                mail.to.push(to.to_owned());
                reply("250 ok")
            }
        }
    }

    fn data(&mut self) -> Step {
        match &mut self.place {
            Place::Envelope(mail) if !mail.to.is_empty() => {
                self.place = Place::Text(mem::take(mail), false);
                reply("354 end with a dot")
            }
            _ => reply("503 not now"),
        }
    }

    fn reset(&mut self) -> Step {
        if !matches!(self.place, Place::New) {
            self.place = Place::Ready;
        }
        reply("250 ok")
    }

    fn text_line(&mut self, line: &[u8]) -> Step {
        let Place::Text(mail, too_long) = &mut self.place else { return Step::Silent };
        if line == b".\r\n" {
            let step = if *too_long { reply("552 too long") } else { Step::Deliver(mem::take(mail)) };
            self.place = Place::Ready;
            return step;
        }
        // The sender doubled a dot at the start of a line, lest it end the mail.
        let line = line.strip_prefix(b".").unwrap_or(line);
        *too_long |= mail.text.len() + line.len() > MAIL_LIMIT;
        if !*too_long {
            mail.text.extend_from_slice(line);
        }
        Step::Silent
    }
}

impl Mail {
    /// The mail as a file, its envelope in two header fields.
    pub(super) fn to_eml(&self) -> Vec<u8> {
        let recipients: Vec<String> = self.to.iter().map(|to| format!("<{to}>")).collect();
        let envelope = format!("Return-Path: <{}>\r\nX-Envelope-To: {}\r\n", self.from, recipients.join(", "));
        [envelope.as_bytes(), &self.text].concat()
    }
}

fn reply(text: &str) -> Step {
    Step::Reply(format!("{text}\r\n"))
}

/// Splits `FROM:<address> parameters` into the address and the rest.
fn address<'a>(text: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (found, rest) = text.split_at_checked(keyword.len())?;
    let (address, rest) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    found.eq_ignore_ascii_case(keyword).then_some((address, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `lines`; returns what the last one led to.
    fn play(session: &mut Session, lines: &[&str]) -> Step {
        lines.iter().map(|line| session.step(format!("{line}\r\n").as_bytes())).last().unwrap()
    }

    fn code(step: &Step) -> &str {
        match step {
            Step::Reply(text) | Step::Close(text) | Step::StartTls(text) => &text[..3],
            Step::Silent | Step::Deliver(_) => "",
        }
    }

    #[test]
    fn a_mail_keeps_its_envelope_and_loses_the_doubled_dots() {
        let mut session = Session::new(Terms::default());
        let step = play(
            &mut session,
            &[
                "EHLO me",
                "mail from:<a@x.test> SIZE=9",
                "RCPT TO:<b@y.test>",
                "RCPT TO:<c@y.test>",
                "DATA",
                "..",
                ".a",
                ".",
            ],
        );
        let expected = Mail {
            from: "a@x.test".into(),
            to: vec!["b@y.test".into(), "c@y.test".into()],
            text: b".\r\na\r\n".to_vec(),
        };
        assert_eq!(step, Step::Deliver(expected));
    }

    #[test]
    fn commands_out_of_order_are_refused() {
        for lines in [&["MAIL FROM:<a@x>"][..], &["HELO me", "RCPT TO:<a@x>"], &["HELO me", "MAIL FROM:<a@x>", "DATA"]]
        {
            assert_eq!(code(&play(&mut Session::new(Terms::default()), lines)), "503", "{lines:?}");
        }
        let after_reset = ["HELO me", "MAIL FROM:<a@x>", "RSET", "RCPT TO:<a@x>"];
        assert_eq!(code(&play(&mut Session::new(Terms::default()), &after_reset)), "503");
        assert_eq!(code(&play(&mut Session::new(Terms::default()), &["RSET", "MAIL FROM:<a@x>"])), "503");
    }

    #[test]
    fn a_mail_that_is_too_long_is_refused_and_the_next_one_taken() {
        let mut session = Session::new(Terms::default());
        assert_eq!(code(&play(&mut session, &["HELO me", "MAIL FROM:<a@x> SIZE=10000001"])), "552");
        let long = "x".repeat(600_000);
        play(&mut session, &["MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA"]);
        for _ in 0..20 {
            assert_eq!(play(&mut session, &[&long]), Step::Silent);
        }
        assert_eq!(code(&play(&mut session, &["."])), "552");
        let step = play(&mut session, &["MAIL FROM:<>", "RCPT TO:<b@x>", "DATA", "short", "."]);
        assert!(matches!(step, Step::Deliver(mail) if mail.from.is_empty()));
    }

    #[test]
    fn nonsense_is_answered_and_quit_closes() {
        let mut session = Session::new(Terms::default());
        assert_eq!(code(&play(&mut session, &["FOO"])), "500");
        assert_eq!(code(&play(&mut session, &["HELO me", "MAIL FROM a@x"])), "501");
        assert!(matches!(play(&mut session, &["QUIT"]), Step::Close(_)));
    }

    #[test]
    fn who_must_log_in_does_so_before_a_mail() {
        let terms = Terms { login: Some(("me".to_owned(), "pass".to_owned())), ..Terms::default() };
        let mut session = Session::new(terms);
        assert_eq!(code(&play(&mut session, &["EHLO me", "MAIL FROM:<a@x>"])), "530");
        assert_eq!(code(&play(&mut session, &["AUTH PLAIN AG1lAHdyb25n"])), "535");
        assert_eq!(code(&play(&mut session, &["AUTH PLAIN AG1lAHBhc3M="])), "235");
        assert_eq!(code(&play(&mut session, &["MAIL FROM:<a@x>"])), "250");
        assert_eq!(code(&play(&mut session, &["STARTTLS"])), "500");
    }
}
