//! Mail servers, as a URL names them.

use std::fmt;

use secrecy::SecretString;
use url::{Host, Url};
use zeroize::Zeroizing;

/// A mail server that takes our mails.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// Host name, or address without brackets.
    pub host: String,
    /// Port; by default 465 with `smtps`, else 587.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: SmtpSecurity,
    /// User name and password.
    pub credentials: Option<(String, SecretString)>,
    /// The name to greet with, where it is not this machine's. Option `name`.
    pub hello_name: Option<String>,
    /// The name that the certificate must have, where it is not the host. Option `tls.servername`.
    pub certificate_name: Option<String>,
    /// Whether the certificate must be good. Option `tls.rejectUnauthorized`, default true.
    pub checks_certificate: bool,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmtpSecurity {
    /// From the start: `smtps`, or the option `secure=true`.
    Tls,
    /// By STARTTLS: the option `requireTLS=true`.
    StartTls,
    /// By STARTTLS if the server offers it: `smtp`. Without it no password is sent.
    Opportunistic,
    /// Not at all, not even the password: the option `ignoreTLS=true`, for a way on which nobody else can listen.
    Never,
}

/// Why a text names no mail server. Never shows the text, which holds a password.
#[derive(Debug, thiserror::Error)]
pub enum SmtpUrlError {
    /// No URL, for one reason or another.
    #[error("is no URL ({0}); it looks like smtps://user:password@host:465, and {ESCAPES}")]
    NoUrl(url::ParseError),
    /// Not `smtp` or `smtps`.
    #[error("must begin with smtp:// or smtps://")]
    Scheme,
    /// There is none.
    #[error("names no host")]
    NoHost,
    /// There is something behind the port, as when the password has a `/` or `#`.
    #[error("has something behind the host: {ESCAPES}")]
    Rest,
    /// One without the other.
    #[error("has a user name without a password, or a password without a user name")]
    HalfCredentials,
    /// A `%` that escapes nothing.
    #[error("has a bad escape in the user name or password: write % itself as %25")]
    Escape,
}

const ESCAPES: &str = "in a user name or password / ? # @ : % are written %2F %3F %23 %40 %3A %25";

impl SmtpServer {
    /// Reads `smtp://user:password@host:587/?option=value`, or `smtps://…`. Gives the options, too, that mean nothing here.
    ///
    /// Reference: the URLs and options of nodemailer.
    pub(super) fn parse(text: &str) -> Result<(Self, Vec<String>), SmtpUrlError> {
        let url = Url::parse(text).map_err(SmtpUrlError::NoUrl)?;
        let security = match url.scheme() {
            "smtp" => SmtpSecurity::Opportunistic,
            "smtps" => SmtpSecurity::Tls,
            _ => return Err(SmtpUrlError::Scheme),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(SmtpUrlError::Rest);
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) if !host.to_string().is_empty() => host.to_string(),
            _ => return Err(SmtpUrlError::NoHost),
        };
        let mut server = Self {
            host,
            port: 0,
            security,
            credentials: credentials(&url)?,
            hello_name: None,
            certificate_name: None,
            checks_certificate: true,
        };
        let ignored = server.take_options(&url);
        server.port = url.port().unwrap_or(if server.security == SmtpSecurity::Tls { 465 } else { 587 });
        Ok((server, ignored))
    }

    /// Gives those that mean nothing here.
    fn take_options(&mut self, url: &Url) -> Vec<String> {
        let mut ignored = Vec::new();
        for (name, value) in url.query_pairs() {
            let (is_true, is_false) = (value == "true", value == "false");
            match &*name {
                "secure" if is_true => self.security = SmtpSecurity::Tls,
                "secure" if is_false => self.security = SmtpSecurity::Opportunistic,
                "requireTLS" if is_true => self.require(SmtpSecurity::StartTls),
                "ignoreTLS" if is_true => self.require(SmtpSecurity::Never),
                "tls.rejectUnauthorized" => self.checks_certificate = !is_false,
                "tls.servername" => self.certificate_name = Some(value.into_owned()),
                "name" => self.hello_name = Some(value.into_owned()),
                "requireTLS" | "ignoreTLS" => {}
                _ => ignored.push(name.into_owned()),
            }
        }
        ignored
    }

    /// Encryption from the start is more than any of these.
    fn require(&mut self, security: SmtpSecurity) {
        if self.security != SmtpSecurity::Tls {
            self.security = security;
        }
    }
}

/// As a URL, without the password.
impl fmt::Display for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.security == SmtpSecurity::Tls { "smtps://" } else { "smtp://" })?;
        if let Some((user, _)) = &self.credentials {
            write!(f, "{user}:***@")?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        write!(f, ":{}", self.port)
    }
}

fn credentials(url: &Url) -> Result<Option<(String, SecretString)>, SmtpUrlError> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, Some(password)) if !user.is_empty() && !password.is_empty() => {
            let password = SecretString::from(unescape(password)?.as_str());
            Ok(Some((unescape(user)?.to_string(), password)))
        }
        _ => Err(SmtpUrlError::HalfCredentials),
    }
}

fn unescape(text: &str) -> Result<Zeroizing<String>, SmtpUrlError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('%') {
        let digits = escape.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(SmtpUrlError::Escape)?;
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(byte);
        rest = &escape[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| SmtpUrlError::Escape)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn parse(text: &str) -> SmtpServer {
        let (server, ignored) = SmtpServer::parse(text).unwrap();
        assert!(ignored.is_empty(), "{ignored:?}");
        server
    }

    #[test]
    fn scheme_and_options_say_how_it_is_encrypted() {
        for (text, security, port) in [
            ("smtp://mail.test", SmtpSecurity::Opportunistic, 587),
            ("smtps://mail.test/", SmtpSecurity::Tls, 465),
            ("smtp://mail.test:25?requireTLS=true", SmtpSecurity::StartTls, 25),
            ("smtp://mail.test/?ignoreTLS=true", SmtpSecurity::Never, 587),
            ("smtp://mail.test?secure=true", SmtpSecurity::Tls, 465),
            ("smtps://mail.test?ignoreTLS=true", SmtpSecurity::Tls, 465),
            ("smtps://mail.test:2465?requireTLS=true&ignoreTLS=false", SmtpSecurity::Tls, 2465),
        ] {
            let server = parse(text);
            assert_eq!((server.security, server.port), (security, port), "{text}");
            assert!(server.checks_certificate && server.credentials.is_none());
        }
        let server = parse("smtp://mail.test?tls.rejectUnauthorized=false&name=pds.test&tls.servername=other.test");
        assert!(!server.checks_certificate);
        assert_eq!(
            (server.hello_name.as_deref(), server.certificate_name.as_deref()),
            (Some("pds.test"), Some("other.test"))
        );
        assert_eq!(SmtpServer::parse("smtp://mail.test?pool=true").unwrap().1, ["pool"]);
    }

    #[test]
    fn credentials_are_unescaped_and_not_shown() {
        for (text, user, password) in [
            ("smtp://user:pass@mail.test", "user", "pass"),
            ("smtp://me%40mail.test:a%2Fb%23c%3F%25%C3%BC@mail.test", "me@mail.test", "a/b#c?%ü"),
            // Many write it so.
            ("smtps://me@mail.test:pa@ss@mail.test:465", "me@mail.test", "pa@ss"),
        ] {
            let server = parse(text);
            let (found, secret) = server.credentials.as_ref().unwrap();
            assert_eq!((found.as_str(), secret.expose_secret()), (user, password));
            assert_eq!(server.host, "mail.test");
            for shown in [server.to_string(), format!("{server:?}")] {
                assert!(shown.contains(user) && !shown.contains(password), "{shown}");
            }
        }
        assert_eq!(parse("smtp://u:p@[::1]:25").to_string(), "smtp://u:***@[::1]:25");
        assert_eq!(parse("smtp://[::1]:25").host, "::1");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, words) in [
            ("secret", "is no URL"),
            ("https://u:secret@mail.test", "must begin with smtp://"),
            ("smtp:", "names no host"),
            ("smtp:///x", "behind the host"),
            ("smtp://u:sec/ret@mail.test", "%2F"),
            ("smtp://u:12#secret@mail.test", "%23"),
            ("smtp://u:sec?ret@mail.test", "%3F"),
            ("smtp://mail.test:99999", "invalid port"),
            ("smtp://mail.test/secret", "behind the host"),
            ("smtp://user@mail.test", "without a password"),
            ("smtp://:secret@mail.test", "without a user name"),
            ("smtp://u:secret%zz@mail.test", "%25"),
            ("smtp://u:secret%@mail.test", "%25"),
            ("smtp://u:secret%FF@mail.test", "%25"),
        ] {
            let error = SmtpServer::parse(text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
