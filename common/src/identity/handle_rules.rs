//! Which handles this server gives away.

use atproto::syntax::{Handle, HandleError};

use super::reserved::is_reserved;

/// Shortest front part of a handle below a service domain.
const MIN_FRONT_CHARS: usize = 3;
/// Longest front part of a handle below a service domain.
const MAX_FRONT_CHARS: usize = 18;

/// The rules for handles of accounts on this server.
///
/// Not among them is a list of offensive words, which the reference has: such lists are neither complete nor right in more
/// than one language. An operator who wants one finds [`HandleRules::check`] the one place to ask it in, and answers with
/// [`HandleRefusal::Invalid`].
#[derive(Clone, Debug)]
pub struct HandleRules {
    service_domains: Vec<String>,
}

/// Why a handle is not given away. The text of each variant is what the wire shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandleRefusal {
    /// Not a handle at all.
    #[error("Input handle must be a valid handle: {0}")]
    Syntax(HandleError),
    /// Breaks a rule of this server.
    #[error("{0}")]
    Invalid(&'static str),
    /// A name that would be mistaken for the operator or the protocol.
    #[error("Reserved handle")]
    Reserved,
    /// Below a domain that is not this server's.
    #[error("Not a supported handle domain")]
    UnsupportedDomain,
}

impl HandleRules {
    /// Rules for a server whose users take handles below `service_domains`, each lower-case with a leading dot:
    /// `PDS_SERVICE_HANDLE_DOMAINS`.
    pub fn new(service_domains: Vec<String>) -> Self {
        Self { service_domains }
    }

    /// True if `handle` is below one of this server's domains, so that nobody else can say whose it is.
    pub fn is_service_handle(&self, handle: &Handle) -> bool {
        self.front(handle).is_some()
    }

    /// True if a request to `host` asks for a handle's own site: below a service domain, or such a domain itself.
    pub fn is_service_host(&self, host: &str) -> bool {
        self.service_domains.iter().any(|domain| host.ends_with(domain) || host == &domain[1..])
    }

    /// Parses and checks a handle that a user wants, under the rules that hold for every handle.
    pub fn check(&self, text: &str) -> Result<Handle, HandleRefusal> {
        let handle = self.check_reserved_too(text)?;
        if self.front(&handle).is_some_and(is_reserved) { Err(HandleRefusal::Reserved) } else { Ok(handle) }
    }

    /// As [`HandleRules::check`], for the operator, who may give the names away that users do not get.
    pub fn check_reserved_too(&self, text: &str) -> Result<Handle, HandleRefusal> {
        let handle: Handle = text.parse().map_err(HandleRefusal::Syntax)?;
        if handle.has_disallowed_tld() {
            return Err(HandleRefusal::Invalid("Handle TLD is invalid or disallowed"));
        }
        if let Some(front) = self.front(&handle) {
            check_front(front)?;
        }
        Ok(handle)
    }

    /// Checks a handle that is good otherwise for a sign-up that makes a new DID: no other server can vouch for it yet.
    pub fn check_new(&self, handle: &Handle) -> Result<(), HandleRefusal> {
        if self.is_service_handle(handle) { Ok(()) } else { Err(HandleRefusal::UnsupportedDomain) }
    }

    /// What stands before the service domain.
    fn front<'a>(&self, handle: &'a Handle) -> Option<&'a str> {
        self.service_domains.iter().find_map(|domain| handle.as_str().strip_suffix(domain.as_str()))
    }
}

fn check_front(front: &str) -> Result<(), HandleRefusal> {
    if front.contains('.') {
        return Err(HandleRefusal::Invalid("Invalid characters in handle"));
    }
    if front.len() < MIN_FRONT_CHARS {
        return Err(HandleRefusal::Invalid("Handle too short"));
    }
    if front.len() > MAX_FRONT_CHARS {
        return Err(HandleRefusal::Invalid("Handle too long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> HandleRules {
        HandleRules::new(vec![".pds.test".to_owned(), ".other.net".to_owned()])
    }

    fn check_new(text: &str) -> Result<Handle, HandleRefusal> {
        let handle = rules().check(text)?;
        rules().check_new(&handle).map(|()| handle)
    }

    #[test]
    fn service_handles_are_given_away() {
        for text in ["alice.pds.test", "abc.other.net", "a-very-long-handle.pds.test", "42a.pds.test"] {
            assert_eq!(check_new(text).unwrap().as_str(), text);
        }
        assert_eq!(check_new("Alice.PDS.test").unwrap().as_str(), "alice.pds.test");
    }

    #[test]
    fn each_rule_has_its_refusal() {
        use HandleRefusal::{Invalid, Reserved, Syntax, UnsupportedDomain};
        for (text, refusal) in [
            ("alice", Syntax(HandleError::NoDot)),
            ("al_ice.pds.test", Syntax(HandleError::Label)),
            ("alice.local", Invalid("Handle TLD is invalid or disallowed")),
            ("alice.onion", Invalid("Handle TLD is invalid or disallowed")),
            ("a.b.pds.test", Invalid("Invalid characters in handle")),
            ("al.pds.test", Invalid("Handle too short")),
            ("a-handle-with-19-let.pds.test", Invalid("Handle too long")),
            ("admin.pds.test", Reserved),
            ("alice.example.com", UnsupportedDomain),
            // No dot between: another domain.
            ("alicepds.test", UnsupportedDomain),
            ("pds.test", UnsupportedDomain),
        ] {
            assert_eq!(check_new(text), Err(refusal), "{text}");
        }
    }

    #[test]
    fn elsewhere_names_are_free() {
        assert!(rules().check("a.example.com").is_ok());
        assert!(rules().check("admin.example.com").is_ok());
        assert_eq!(rules().check("admin.other.net"), Err(HandleRefusal::Reserved));
        assert!(rules().check_reserved_too("admin.other.net").is_ok());
        assert!(rules().check_reserved_too("al.other.net").is_err());
    }

    #[test]
    fn hosts_of_handles_are_told_apart() {
        for (host, expected) in
            [("alice.pds.test", true), ("pds.test", true), ("mypds.test", false), ("test", false), ("other.net", true)]
        {
            assert_eq!(rules().is_service_host(host), expected, "{host}");
        }
    }
}
