//! E-mail addresses, and which of them users may have.

use std::fmt;
use std::str::FromStr;

use crate::config::DomainList;

/// Longest part before the `@`.
const MAX_LOCAL_LEN: usize = 64;
/// Longest label of the domain.
const MAX_LABEL_LEN: usize = 63;
/// What may stand before the `@` beside letters, digits and dots. Quoted forms are refused: they are legal, and nearly always
/// an attack on whoever prints the address.
const LOCAL_SYMBOLS: &[u8] = b"!#$%&'*+/=?^_`{|}~-";

/// A plausible e-mail address, in lower case. Whether mail arrives there only a mail can tell.
///
/// ASCII only: of two addresses that look alike, or that become one by some normal form of Unicode, at most one can be
/// written. Source: RFC 5321 and RFC 5322, without quoting, comments, address literals and single-label domains.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(Box<str>);

/// The text is not an address that mail could be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct EmailAddressError;

/// Why a user may not have an address. The text is what the wire shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("This email address is not supported, please use a different email.")]
pub struct EmailRefused;

/// Which addresses users may have: all but those of throw-away services, as far as the operator lists them.
#[derive(Clone, Default, Debug)]
pub struct EmailRules {
    disposable: DomainList,
}

impl EmailRules {
    /// Refuses addresses at these domains.
    pub fn new(disposable: DomainList) -> Self {
        Self { disposable }
    }

    /// Reads the address that a user wants to have.
    pub fn check(&self, text: &str) -> Result<EmailAddress, EmailRefused> {
        let address: EmailAddress = text.parse().map_err(|_| EmailRefused)?;
        if self.disposable.covers(address.domain()) { Err(EmailRefused) } else { Ok(address) }
    }
}

impl EmailAddress {
    /// Longest address that SMTP can carry, in bytes.
    pub const MAX_LEN: usize = 254;

    /// What stands behind the `@`.
    fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses do not belong in logs.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

impl FromStr for EmailAddress {
    type Err = EmailAddressError;

    fn from_str(text: &str) -> Result<Self, EmailAddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(EmailAddressError)?;
        if text.len() > Self::MAX_LEN || !is_local_part(local) || !is_mail_domain(domain) {
            return Err(EmailAddressError);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

fn is_local_part(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || LOCAL_SYMBOLS.contains(&byte))
    };
    local.len() <= MAX_LOCAL_LEN && local.split('.').all(is_atom)
}

fn is_mail_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_LEN).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, tld)) = domain.rsplit_once('.') else { return false };
    domain.split('.').all(is_label) && tld.len() >= 2 && tld.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::{EmailAddress, EmailRefused, EmailRules};

    #[test]
    fn plausible_addresses_pass_in_lower_case() {
        for (text, stored) in [
            ("alice@example.com", "alice@example.com"),
            ("Alice.B+tag@Mail.Example.CO.UK", "alice.b+tag@mail.example.co.uk"),
            ("o'hara@xn--bcher-kva.example", "o'hara@xn--bcher-kva.example"),
            ("1@2.test", "1@2.test"),
        ] {
            assert_eq!(text.parse::<EmailAddress>().unwrap().as_str(), stored);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_domain = format!("a@{}com", "abcdefg.".repeat(32));
        for text in [
            "",
            "alice",
            "@example.com",
            "alice@",
            "alice@localhost",
            "alice@example.c",
            "alice@example.1com",
            "alice@-example.com",
            "alice@exa mple.com",
            "alice@example..com",
            "alice@[127.0.0.1]",
            ".alice@example.com",
            "alice.@example.com",
            "al..ice@example.com",
            "al ice@example.com",
            "\"alice\"@example.com",
            "alice@bob@example.com",
            "alice@example.com\r\nBcc: bob@example.com",
            "älice@example.com",
            // A Cyrillic a, full-width letters, and an a with a combining mark.
            "\u{430}lice@example.com",
            "\u{ff41}lice@example.com",
            "a\u{301}lice@example.com",
            "alice@ex\u{430}mple.com",
            "alice\u{200b}@example.com",
            "alice@example\u{3002}com",
            "alice@example.com\0",
            "Alice <alice@example.com>",
            &long_local,
            &long_domain,
        ] {
            assert!(text.parse::<EmailAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn listed_domains_are_refused_with_all_below_them() {
        let rules = EmailRules::new("mailinator.com\nx.example\n".parse().unwrap());
        for text in ["a@mailinator.com", "A@Mailinator.COM", "a@eu.mailinator.com", "a@x.example", "no address"] {
            assert_eq!(rules.check(text), Err(EmailRefused), "{text}");
        }
        for text in ["a@notmailinator.com", "a@mailinator.com.example", "a@y.example"] {
            assert!(rules.check(text).is_ok(), "{text}");
        }
        assert!(EmailRules::default().check("a@mailinator.com").is_ok());
    }

    #[test]
    fn debug_hides_the_address() {
        assert!(!format!("{:?}", "alice@example.com".parse::<EmailAddress>().unwrap()).contains("alice"));
    }
}
