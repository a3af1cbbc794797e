//! A list of domains in a file.

use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

/// Domains, each with all that are below it; cheap to clone.
///
/// The text has one to a line. Empty lines, and lines that begin with `#`, say nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DomainList(Arc<HashSet<Box<str>>>);

/// A line is no domain of at least two labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not a domain")]
pub struct DomainListError(usize);

impl DomainList {
    /// True if `domain`, which is in lower case, is on the list or below one that is.
    pub fn covers(&self, domain: &str) -> bool {
        let parents = std::iter::successors(Some(domain), |domain| domain.split_once('.').map(|(_, parent)| parent));
        parents.into_iter().any(|domain| self.0.contains(domain))
    }
}

impl FromStr for DomainList {
    type Err = DomainListError;

    fn from_str(text: &str) -> Result<Self, DomainListError> {
        let mut domains = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !is_domain(line) {
                return Err(DomainListError(at + 1));
            }
            domains.insert(line.to_ascii_lowercase().into());
        }
        Ok(Self(Arc::new(domains)))
    }
}

/// Lists are long.
impl fmt::Debug for DomainList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainList({} domains)", self.0.len())
    }
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_line_by_line() {
        let list: DomainList = "# throw-away\n\n Mailinator.com \r\n1.example\n".parse().unwrap();
        assert!(list.covers("mailinator.com") && list.covers("a.b.mailinator.com") && list.covers("1.example"));
        assert!(!list.covers("com") && !list.covers("") && !list.covers("otherinator.com"));
        assert_eq!(format!("{list:?}"), "DomainList(2 domains)");
        assert!(!DomainList::default().covers("mailinator.com"));
    }

    #[test]
    fn a_bad_line_is_named() {
        for bad in ["mailinator", "a@b.example", ".example", "a..example", "mail inator.com", "mäil.example"] {
            assert_eq!(format!("good.example\n{bad}").parse::<DomainList>(), Err(DomainListError(2)), "{bad}");
        }
    }
}
