//! Names that nobody gets below a service domain: whoever had one could pass for the operator, or for part of the protocol.

/// Words of the protocol and of this program, sorted.
#[rustfmt::skip] // one name a line would be three pages
const PROTOCOL: &[&str] = &[
    "appview", "at", "atp", "atproto", "bluesky", "bsky", "cid", "did", "feedgen", "firehose", "handle", "jetstream",
    "labeler", "lex", "lexicon", "nsid", "oauth", "ozone", "pds", "plc", "relay", "repo", "rookery", "tid", "xrpc",
    "xrpcs",
];

/// Mailboxes that RFC 2142 gives a meaning, hosts that programs look for by name, and roles that people trust. Sorted.
#[rustfmt::skip]
const COMMON: &[&str] = &[
    "about", "abuse", "access", "account", "accounts", "activate", "admin", "administration", "administrator", "admins",
    "ads", "alert", "alerts", "all", "analytics", "android", "anonymous", "anyone", "api", "app", "apps", "archive",
    "assets", "auth", "authentication", "authorize", "autoconfig", "autodiscover", "backup", "billing", "blog", "bot",
    "bots", "broadcasthost", "bug", "bugs", "business", "careers", "cdn", "chat", "checkout", "client", "clients",
    "cloud", "code", "com", "community", "config", "console", "contact", "copyright", "css", "customer", "dashboard",
    "data", "database", "deactivated", "deleted", "dev", "developer", "developers", "dns", "doc", "docs", "domain",
    "domains", "download", "downloads", "email", "error", "errors", "everybody", "everyone", "example", "faq",
    "favicon", "feed", "feedback", "feeds", "file", "files", "forum", "ftp", "git", "guest", "guide", "help",
    "helpdesk", "home", "host", "hosting", "hostmaster", "http", "https", "image", "images", "imap", "info", "invalid",
    "invite", "ios", "isatap", "job", "jobs", "legal", "local", "localhost", "log", "login", "logout", "logs", "mail",
    "mailer-daemon", "marketing", "media", "moderation", "moderator", "moderators", "news", "no-reply", "nobody", "noc",
    "noreply", "notification", "notifications", "ns1", "ns2", "ns3", "ns4", "null", "official", "operator", "ops",
    "owner", "partner", "password", "payment", "payments", "policy", "pop", "pop3", "postmaster", "press", "privacy",
    "profile", "proxy", "public", "register", "report", "reports", "root", "safety", "sales", "search", "security",
    "server", "service", "settings", "shop", "signin", "signup", "smtp", "ssl", "ssladmin", "staff", "staging",
    "static", "status", "store", "sudo", "suggestions", "superuser", "support", "sysadmin", "system", "team", "terms",
    "tls", "tos", "trust", "undefined", "unknown", "update", "updates", "upload", "uploads", "usenet", "user",
    "username", "users", "uucp", "verification", "verified", "verify", "video", "webmail", "webmaster", "wpad", "www",
];

/// True if no user may have `front` before a service domain.
pub(super) fn is_reserved(front: &str) -> bool {
    [PROTOCOL, COMMON].iter().any(|names| names.binary_search(&front).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_in_lower_case() {
        for names in [PROTOCOL, COMMON] {
            assert!(names.is_sorted());
            assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
        }
    }

    #[test]
    fn reserved_names_are_found() {
        assert!(is_reserved("xrpc") && is_reserved("about") && is_reserved("www") && is_reserved("no-reply"));
        assert!(!is_reserved("alice") && !is_reserved("test"));
    }
}
