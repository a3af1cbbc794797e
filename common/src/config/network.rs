//! Other services: the ones requests are forwarded to, the entryway, and the rules of outgoing requests.

use std::time::Duration;

use atproto::syntax::Did;
use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::SecretString;
use url::Url;

use super::reader::Reader;

/// A service that requests are forwarded to.
#[derive(Clone, Debug)]
pub struct UpstreamService {
    /// Its origin.
    pub url: Url,
    /// Its DID: the audience of the tokens sent to it.
    pub did: Did,
}

impl UpstreamService {
    /// Reads `<prefix>_URL` and `<prefix>_DID`; a DID without a URL is ignored.
    fn read(reader: &mut Reader<'_>, prefix: &str) -> Option<Self> {
        let did_variable = format!("{prefix}_DID");
        let did = reader.parsed(&did_variable);
        reader.string(&format!("{prefix}_URL"))?;
        let did = reader.require(&did_variable, did);
        Some(Self { url: reader.url(&format!("{prefix}_URL"))?, did: did? })
    }
}

/// The application view, moderation and report services, and the relays.
#[derive(Clone, Debug)]
pub struct UpstreamsConfig {
    /// Default target of forwarded methods. `PDS_BSKY_APP_VIEW_URL`, `PDS_BSKY_APP_VIEW_DID`.
    pub appview: Option<UpstreamService>,
    /// Image URLs in local views: three `%s` for preset, DID and CID. `PDS_BSKY_APP_VIEW_CDN_URL_PATTERN`.
    pub cdn_url_pattern: Option<String>,
    /// Default target of moderation tools, and the only moderation issuer. `PDS_MOD_SERVICE_URL`, `PDS_MOD_SERVICE_DID`.
    pub mod_service: Option<UpstreamService>,
    /// Default target of reports; falls back to the moderation service. `PDS_REPORT_SERVICE_URL`, `_DID`.
    pub report_service: Option<UpstreamService>,
    /// Relays to tell about new commits. `PDS_CRAWLERS`.
    pub crawlers: Vec<Url>,
}

impl UpstreamsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mod_service = UpstreamService::read(reader, "PDS_MOD_SERVICE");
        let report_service = UpstreamService::read(reader, "PDS_REPORT_SERVICE").or_else(|| mod_service.clone());
        Self {
            appview: UpstreamService::read(reader, "PDS_BSKY_APP_VIEW"),
            cdn_url_pattern: reader.string("PDS_BSKY_APP_VIEW_CDN_URL_PATTERN"),
            mod_service,
            report_service,
            crawlers: reader.url_list("PDS_CRAWLERS"),
        }
    }
}

/// A shared account service in front of several PDSes. Present exactly if `PDS_ENTRYWAY_URL` is set.
#[derive(Clone, Debug)]
pub struct EntrywayConfig {
    /// `PDS_ENTRYWAY_URL`.
    pub url: Url,
    /// Issuer of its tokens. `PDS_ENTRYWAY_DID`.
    pub did: Did,
    /// SEC1 bytes of the secp256k1 key that verifies its tokens. `PDS_ENTRYWAY_JWT_VERIFY_KEY_K256_PUBLIC_KEY_HEX`.
    pub jwt_verify_key: Vec<u8>,
    /// A `did:key` that users' PLC rotation keys must hold. `PDS_ENTRYWAY_PLC_ROTATION_KEY`.
    pub plc_rotation_key: String,
    /// Basic password for its admin API. `PDS_ENTRYWAY_ADMIN_TOKEN` (or `_FILE`), default the admin password.
    pub admin_token: Option<SecretString>,
}

impl EntrywayConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const KEY: &str = "PDS_ENTRYWAY_JWT_VERIFY_KEY_K256_PUBLIC_KEY_HEX";
        const ROTATION: &str = "PDS_ENTRYWAY_PLC_ROTATION_KEY";
        let did = reader.parsed("PDS_ENTRYWAY_DID");
        let key_text = reader.string(KEY);
        let rotation = reader.string(ROTATION);
        let admin_token = reader.secret("PDS_ENTRYWAY_ADMIN_TOKEN");
        reader.string("PDS_ENTRYWAY_URL")?;
        let url = reader.url("PDS_ENTRYWAY_URL");
        let did = reader.require("PDS_ENTRYWAY_DID", did);
        let key = reader.require(KEY, key_text).and_then(|text| {
            let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().filter(|key| matches!(key.len(), 33 | 65));
            if bytes.is_none() {
                reader.problem(KEY, "must be a public key in hexadecimal digits");
            }
            bytes
        });
        let rotation = reader.require(ROTATION, rotation);
        if rotation.as_ref().is_some_and(|key| !key.starts_with("did:key:z")) {
            reader.problem(ROTATION, "must be a did:key");
        }
        Some(Self { url: url?, did: did?, jwt_verify_key: key?, plc_rotation_key: rotation?, admin_token })
    }
}

/// Forwarded requests.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// `PDS_PROXY_ALLOW_HTTP2`, default false.
    pub allow_http2: bool,
    /// Time until the answer's head. `PDS_PROXY_HEADERS_TIMEOUT`, default 10 s.
    pub headers_timeout: Duration,
    /// Time between two pieces of the answer's body. `PDS_PROXY_BODY_TIMEOUT`, default 30 s.
    pub body_timeout: Duration,
    /// Largest answer in bytes. `PDS_PROXY_MAX_RESPONSE_SIZE`, default 10 MiB.
    pub max_response_size: u64,
    /// Retries of GET and HEAD after a socket error. `PDS_PROXY_MAX_RETRIES`, default 0.
    pub max_retries: u32,
    /// Prefer compressed answers where the body is rewritten. `PDS_PROXY_PREFER_COMPRESSED`, default false.
    pub prefer_compressed: bool,
}

impl ProxyConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let retries = reader.int::<i64>("PDS_PROXY_MAX_RETRIES").unwrap_or(0);
        Self {
            allow_http2: reader.bool("PDS_PROXY_ALLOW_HTTP2").unwrap_or(false),
            headers_timeout: reader.millis("PDS_PROXY_HEADERS_TIMEOUT").unwrap_or(Duration::from_secs(10)),
            body_timeout: reader.millis("PDS_PROXY_BODY_TIMEOUT").unwrap_or(Duration::from_secs(30)),
            max_response_size: reader.int("PDS_PROXY_MAX_RESPONSE_SIZE").unwrap_or(10 * 1024 * 1024),
            // Reference: a negative number means none.
            max_retries: u32::try_from(retries.max(0)).unwrap_or(u32::MAX),
            prefer_compressed: reader.bool("PDS_PROXY_PREFER_COMPRESSED").unwrap_or(false),
        }
    }
}

/// Outgoing requests to hosts that users name.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// Lets requests reach private addresses. `PDS_DISABLE_SSRF_PROTECTION`, default the value of `PDS_DEV_MODE`.
    pub disable_ssrf_protection: bool,
    /// Largest document in bytes. `PDS_FETCH_MAX_RESPONSE_SIZE`, default 512 KiB.
    pub max_response_size: u64,
}

impl FetchConfig {
    pub(super) fn read(reader: &mut Reader<'_>, dev_mode: bool) -> Self {
        Self {
            disable_ssrf_protection: reader.bool("PDS_DISABLE_SSRF_PROTECTION").unwrap_or(dev_mode),
            max_response_size: reader.int("PDS_FETCH_MAX_RESPONSE_SIZE").unwrap_or(512 * 1024),
        }
    }
}
