//! Accounts: identity, invitations, mail.

use std::path::PathBuf;
use std::time::Duration;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use url::Url;

use super::smtp::SmtpServer;
use super::{DomainList, reader::Reader};

/// Resolving and issuing DIDs and handles.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// The PLC directory. `PDS_DID_PLC_URL`, default `https://plc.directory`.
    pub plc_url: Url,
    /// Cached documents older than this are served but refreshed. `PDS_DID_CACHE_STALE_TTL`, default 1 h.
    pub cache_stale_ttl: Duration,
    /// Cached documents older than this are fetched again before use. `PDS_DID_CACHE_MAX_TTL`, default 24 h.
    pub cache_max_ttl: Duration,
    /// Longest time for one resolution. `PDS_ID_RESOLVER_TIMEOUT`, default 3 s.
    pub resolver_timeout: Duration,
    /// A `did:key` put ahead of the server's in new accounts' rotation keys. `PDS_RECOVERY_DID_KEY`.
    pub recovery_did_key: Option<String>,
    /// Domains under which users take handles; each begins with a dot and is lower case.
    ///
    /// `PDS_SERVICE_HANDLE_DOMAINS`, default `.<hostname>`, or `.test` for `localhost`.
    pub service_handle_domains: Vec<String>,
    /// DNS servers tried when handle resolution fails. `PDS_HANDLE_BACKUP_NAMESERVERS`.
    pub handle_backup_nameservers: Vec<String>,
    /// Whether session answers carry the DID document. `PDS_ENABLE_DID_DOC_WITH_SESSION`, default false.
    pub did_doc_with_session: bool,
    /// Resolve every lexicon from this DID instead of through DNS. `PDS_LEXICON_AUTHORITY_DID`.
    pub lexicon_authority_did: Option<Did>,
}

impl IdentityConfig {
    pub(super) fn read(reader: &mut Reader<'_>, hostname: &str) -> Option<Self> {
        const PLC: &str = "PDS_DID_PLC_URL";
        let plc_url = match reader.string(PLC) {
            Some(_) => reader.url(PLC),
            None => Url::parse("https://plc.directory").ok(),
        };
        let recovery_did_key = reader.string("PDS_RECOVERY_DID_KEY");
        if recovery_did_key.as_ref().is_some_and(|key| !key.starts_with("did:key:z")) {
            reader.problem("PDS_RECOVERY_DID_KEY", "must be a did:key");
        }
        Some(Self {
            cache_stale_ttl: reader.millis("PDS_DID_CACHE_STALE_TTL").unwrap_or(Duration::from_hours(1)),
            cache_max_ttl: reader.millis("PDS_DID_CACHE_MAX_TTL").unwrap_or(Duration::from_hours(24)),
            resolver_timeout: reader.millis("PDS_ID_RESOLVER_TIMEOUT").unwrap_or(Duration::from_secs(3)),
            recovery_did_key,
            service_handle_domains: read_handle_domains(reader, hostname),
            handle_backup_nameservers: reader.list("PDS_HANDLE_BACKUP_NAMESERVERS"),
            did_doc_with_session: reader.bool("PDS_ENABLE_DID_DOC_WITH_SESSION").unwrap_or(false),
            lexicon_authority_did: reader.parsed("PDS_LEXICON_AUTHORITY_DID"),
            plc_url: plc_url?,
        })
    }
}

fn read_handle_domains(reader: &mut Reader<'_>, hostname: &str) -> Vec<String> {
    const NAME: &str = "PDS_SERVICE_HANDLE_DOMAINS";
    let domains = reader.list(NAME);
    for domain in &domains {
        if domain.len() < 2 || !domain.starts_with('.') {
            reader.problem(NAME, format_args!("has an invalid handle domain {domain:?}: it must begin with a dot"));
        }
    }
    match (domains.is_empty(), hostname) {
        (true, "localhost") => vec![".test".to_owned()],
        (true, hostname) => vec![format!(".{}", hostname.to_ascii_lowercase())],
        (false, _) => domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
    }
}

/// Who may sign up.
#[derive(Clone, Debug)]
pub struct InvitesConfig {
    /// Sign-up needs a code. `PDS_INVITE_REQUIRED`, default **true**.
    pub required: bool,
    /// Users earn one code per interval; unset means they earn none. `PDS_INVITE_INTERVAL`.
    pub interval: Option<Duration>,
    /// Intervals before this instant do not count. `PDS_INVITE_EPOCH`, milliseconds since 1970, default 0.
    pub epoch: DateTime<Utc>,
}

impl InvitesConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let epoch = DateTime::from_timestamp_millis(reader.int("PDS_INVITE_EPOCH").unwrap_or(0));
        if epoch.is_none() {
            reader.problem("PDS_INVITE_EPOCH", "is out of range");
        }
        Self {
            required: reader.bool("PDS_INVITE_REQUIRED").unwrap_or(true),
            interval: reader.millis("PDS_INVITE_INTERVAL"),
            epoch: epoch.unwrap_or_default(),
        }
    }
}

/// Outgoing mail.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// Mails of the server; unset means that none are sent, and in development mode they are written to the worker's log.
    /// `PDS_EMAIL_SMTP_URL` (or `_FILE`) and `PDS_EMAIL_FROM_ADDRESS`.
    pub transport: Option<MailTransport>,
    /// Mails of the moderators; unset means that they take the way of the others. `PDS_MODERATION_EMAIL_SMTP_URL` (or `_FILE`) and `PDS_MODERATION_EMAIL_ADDRESS`.
    pub moderation_transport: Option<MailTransport>,
    /// The confirmation mail shows only the code, no link. `PDS_EMAIL_DISABLE_CONFIRMATION_LINK`, default false.
    pub disable_confirmation_link: bool,
    /// Domains whose addresses users may not have, because they belong to throw-away services: one to a line, each with all
    /// below it, `#` before a comment. `PDS_EMAIL_DISPOSABLE_DOMAINS_FILE`, the path of the file; read at start.
    ///
    /// Unset means none. No list is built in: one that is not renewed every few days refuses the wrong people.
    pub disposable_domains: DomainList,
    /// A folder with templates that replace ours; see `worker::mail`. `PDS_EMAIL_TEMPLATES_DIRECTORY`.
    pub templates_directory: Option<PathBuf>,
}

/// One mail server and the sender's address.
#[derive(Clone, Debug)]
pub struct MailTransport {
    /// The server. An `smtp://` or `smtps://` URL.
    pub server: SmtpServer,
    /// The sender: an address, or `Name <address>`.
    pub from_address: String,
}

impl EmailConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            transport: MailTransport::read(reader, "PDS_EMAIL_SMTP_URL", "PDS_EMAIL_FROM_ADDRESS"),
            moderation_transport: MailTransport::read(
                reader,
                "PDS_MODERATION_EMAIL_SMTP_URL",
                "PDS_MODERATION_EMAIL_ADDRESS",
            ),
            disable_confirmation_link: reader.bool("PDS_EMAIL_DISABLE_CONFIRMATION_LINK").unwrap_or(false),
            disposable_domains: reader.parsed_file("PDS_EMAIL_DISPOSABLE_DOMAINS_FILE").unwrap_or_default(),
            templates_directory: reader.string("PDS_EMAIL_TEMPLATES_DIRECTORY").map(PathBuf::from),
        }
    }
}

impl MailTransport {
    fn read(reader: &mut Reader<'_>, url_variable: &str, address_variable: &str) -> Option<Self> {
        match (reader.secret(url_variable), reader.string(address_variable)) {
            (Some(smtp_url), Some(from_address)) => match SmtpServer::parse(smtp_url.expose_secret()) {
                Ok((server, ignored)) => {
                    if !ignored.is_empty() {
                        reader.warn(format!("{url_variable} has options that are ignored: {}", ignored.join(", ")));
                    }
                    Some(Self { server, from_address })
                }
                Err(error) => {
                    reader.problem(url_variable, error);
                    None
                }
            },
            (None, None) => None,
            _ => {
                reader.problem(url_variable, format_args!("and {address_variable} must be set together"));
                None
            }
        }
    }
}
