//! Who this server is, and how its process runs.

use std::{net::IpAddr, time::Duration};

use atproto::syntax::Did;

use super::reader::Reader;

/// What the server says about itself, and what it accepts.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Port, 0 for any free one. `PDS_PORT`, default 2583.
    pub port: u16,
    /// Public host name, without scheme, port or path. `PDS_HOSTNAME`, default `localhost`.
    pub hostname: String,
    /// The server's DID: the audience of every token. `PDS_SERVICE_DID`, default `did:web:<hostname>`.
    pub did: Did,
    /// Name on account pages. `PDS_SERVICE_NAME`, default `<hostname> PDS`.
    pub name: String,
    /// What `/xrpc/_health` reports. `PDS_VERSION`, default the package's version.
    pub version: String,
    /// `PDS_HOME_URL`.
    pub home_url: Option<String>,
    /// `PDS_LOGO_URL`.
    pub logo_url: Option<String>,
    /// `PDS_PRIVACY_POLICY_URL`; shown as written.
    pub privacy_policy_url: Option<String>,
    /// `PDS_TERMS_OF_SERVICE_URL`; shown as written.
    pub terms_of_service_url: Option<String>,
    /// `PDS_SUPPORT_URL`.
    pub support_url: Option<String>,
    /// `PDS_CONTACT_EMAIL_ADDRESS`.
    pub contact_email_address: Option<String>,
    /// Whether there are sign-ups at all. `PDS_ACCEPTING_SIGNUPS`, default true. The operator can always make accounts.
    pub accepting_sign_ups: bool,
    /// Whether importRepo is open. `PDS_ACCEPTING_REPO_IMPORTS`, default true.
    pub accepting_repo_imports: bool,
    /// Body limit of importRepo in bytes; unset means the blob limit applies. `PDS_MAX_REPO_IMPORT_SIZE`.
    pub max_repo_import_size: Option<u64>,
    /// Body limit of uploadBlob in bytes. `PDS_BLOB_UPLOAD_LIMIT`, default 5 MiB.
    pub blob_upload_limit: u64,
    /// Body limit of uploadBlob in bytes for videos; unset means that of all blobs. `PDS_VIDEO_UPLOAD_LIMIT`.
    pub video_upload_limit: Option<u64>,
    /// Loosens what only a test network may loosen. `PDS_DEV_MODE`, default false.
    pub dev_mode: bool,
}

impl ServiceConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let hostname = reader.string("PDS_HOSTNAME").unwrap_or_else(|| "localhost".to_owned());
        let did = match reader.string("PDS_SERVICE_DID") {
            _ if hostname.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | '@')) => {
                reader.problem("PDS_HOSTNAME", "must be a bare host name, without scheme, port or path");
                None
            }
            Some(_) => reader.parsed("PDS_SERVICE_DID"),
            None => default_did(reader, &hostname),
        };
        Some(Self {
            port: reader.int("PDS_PORT").unwrap_or(2583),
            name: reader.string("PDS_SERVICE_NAME").unwrap_or_else(|| format!("{hostname} PDS")),
            version: reader.string("PDS_VERSION").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            home_url: reader.string("PDS_HOME_URL"),
            logo_url: reader.string("PDS_LOGO_URL"),
            privacy_policy_url: reader.string("PDS_PRIVACY_POLICY_URL"),
            terms_of_service_url: reader.string("PDS_TERMS_OF_SERVICE_URL"),
            support_url: reader.string("PDS_SUPPORT_URL"),
            contact_email_address: reader.string("PDS_CONTACT_EMAIL_ADDRESS"),
            accepting_sign_ups: reader.strict_bool("PDS_ACCEPTING_SIGNUPS").unwrap_or(true),
            accepting_repo_imports: reader.bool("PDS_ACCEPTING_REPO_IMPORTS").unwrap_or(true),
            max_repo_import_size: reader.int("PDS_MAX_REPO_IMPORT_SIZE"),
            blob_upload_limit: reader.int("PDS_BLOB_UPLOAD_LIMIT").unwrap_or(5 * 1024 * 1024),
            video_upload_limit: reader.strict_int("PDS_VIDEO_UPLOAD_LIMIT"),
            dev_mode: reader.bool("PDS_DEV_MODE").unwrap_or(false),
            did: did?,
            hostname,
        })
    }

    /// The origin under which clients reach this server, without a trailing slash.
    ///
    /// `http://localhost:<port>` for the host name `localhost`, else `https://<hostname>`.
    pub fn public_url(&self) -> String {
        if self.hostname == "localhost" {
            format!("http://localhost:{}", self.port)
        } else {
            format!("https://{}", self.hostname)
        }
    }
}

fn default_did(reader: &mut Reader<'_>, hostname: &str) -> Option<Did> {
    let did = format!("did:web:{hostname}").parse();
    if did.is_err() {
        reader.problem("PDS_HOSTNAME", "makes no valid did:web; set PDS_SERVICE_DID");
    }
    did.ok()
}

/// How the processes of one deployment run. These variables are ours.
#[derive(Clone, Debug)]
pub struct DeploymentConfig {
    /// Address to listen on; unset means every address. `PDS_BIND`.
    pub bind: Option<IpAddr>,
    /// Port to listen on where it is not the public one: behind a proxy, or with several replicas on one machine.
    /// `PDS_LISTEN_PORT`; unset means `PDS_PORT`.
    pub listen_port: Option<u16>,
    /// Port of the metrics listener; unset means none. `PDS_METRICS_PORT`.
    pub metrics_port: Option<u16>,
    /// How many api replicas the operator runs. `PDS_REPLICAS`, default 1.
    ///
    /// More than one refuses everything that works within one process only.
    pub replicas: u32,
    /// How many proxies stand between clients and this server, each of which adds who asked it to `X-Forwarded-For`.
    /// `PDS_TRUSTED_PROXIES`; 0 means that clients connect directly. Unset means: whichever have local addresses, or are
    /// in `PDS_RATE_LIMIT_BYPASS_IPS`.
    pub trusted_proxies: Option<u8>,
    /// How long a server that was told to stop goes on as before, only not ready: so long load balancers may take to
    /// notice. `PDS_DRAIN_DELAY_MS`, default 1 s; at most half of the grace.
    pub drain_delay: Duration,
    /// Time from the stop signal to the end of the process. `PDS_SHUTDOWN_GRACE_MS`, default 10 s.
    pub shutdown_grace: Duration,
}

impl DeploymentConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let replicas = reader.strict_int("PDS_REPLICAS").unwrap_or(1);
        if replicas == 0 {
            reader.problem("PDS_REPLICAS", "must be at least 1");
        }
        let shutdown_grace = reader.strict_millis("PDS_SHUTDOWN_GRACE_MS").unwrap_or(Duration::from_secs(10));
        let drain_delay = reader.strict_millis("PDS_DRAIN_DELAY_MS").unwrap_or(Duration::from_secs(1));
        Self {
            bind: reader.parsed("PDS_BIND"),
            listen_port: reader.strict_int("PDS_LISTEN_PORT"),
            metrics_port: reader.strict_int("PDS_METRICS_PORT"),
            replicas,
            trusted_proxies: reader.strict_int("PDS_TRUSTED_PROXIES"),
            drain_delay: drain_delay.min(shutdown_grace / 2),
            shutdown_grace,
        }
    }
}
