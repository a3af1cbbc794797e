//! The part of DNS name syntax that handles and NSIDs share.

/// Longest domain name in bytes.
pub(super) const MAX_DOMAIN_LEN: usize = 253;

/// Longest label in bytes.
pub(super) const MAX_LABEL_LEN: usize = 63;

/// True for 1 to 63 ASCII letters, digits and hyphens without a hyphen at either end.
pub(super) fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_LEN).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
