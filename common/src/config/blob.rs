//! Blobs: which are taken and kept, and how they are given out.

use std::str::FromStr;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use url::form_urlencoded::byte_serialize;
use url::{Position, Url};

use super::BlobstoreConfig;
use super::reader::Reader;

/// Rules of blobs.
#[derive(Clone, Debug)]
pub struct BlobConfig {
    /// How long an upload that no record refers to is kept. `PDS_BLOB_UNREFERENCED_TTL`, in milliseconds, default 24 h, at
    /// least an hour.
    pub unreferenced_ttl: Duration,
    /// How long a blob is kept that lost its last reference. `PDS_BLOB_DEREFERENCED_TTL`, in milliseconds, default 24 h, at
    /// least an hour.
    pub dereferenced_ttl: Duration,
    /// How long either is kept in quarantine after that, where only an operator, or a new reference or upload, gets it
    /// from. `PDS_BLOB_QUARANTINE`, in milliseconds, default 7 days; 0 for not at all,
    /// or at least an hour.
    pub quarantine: Duration,
    /// What is done with pictures that say more than they show. `PDS_BLOB_METADATA_POLICY`: `reject`, the default, `strip` or
    /// `allow`. An uploader may ask for `allow`.
    pub metadata_policy: MetadataPolicy,
    /// What an account may have that has no quota of its own.
    pub quota: BlobQuota,
    /// How everybody's reads are answered.
    pub delivery: BlobDelivery,
}

/// What is done with pictures that say where, when or with what they were taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MetadataPolicy {
    /// Those that name a place are refused.
    #[default]
    Reject,
    /// Everything personal is removed before they are stored.
    Strip,
    /// They are stored as they are.
    Allow,
}

/// A policy that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("must be reject, strip or allow")]
pub struct MetadataPolicyError;

impl FromStr for MetadataPolicy {
    type Err = MetadataPolicyError;

    fn from_str(text: &str) -> Result<Self, MetadataPolicyError> {
        match text {
            "reject" => Ok(Self::Reject),
            "strip" => Ok(Self::Strip),
            "allow" => Ok(Self::Allow),
            _ => Err(MetadataPolicyError),
        }
    }
}

/// How many blobs an account may have, in use or not. No limit where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlobQuota {
    /// Bytes of all of them. `PDS_BLOB_QUOTA_BYTES`.
    pub bytes: Option<u64>,
    /// Their number. `PDS_BLOB_QUOTA_COUNT`.
    pub count: Option<u64>,
}

/// Who sends the bytes that everybody may read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlobDelivery {
    /// This server. `PDS_BLOB_REDIRECT` unset or `none`.
    Stream,
    /// The bucket, from an address that is good for a while. `PDS_BLOB_REDIRECT=presign`, with S3 only.
    Presign,
    /// What lies in front of this server. `PDS_BLOB_CDN_URL_PATTERN`.
    Cdn(CdnPattern),
}

/// An address with `{did}` and `{cid}` in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CdnPattern(String);

/// The text is no pattern of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be an http or https URL with {{did}} and {{cid}} in its path or query")]
pub struct CdnPatternError;

impl BlobQuota {
    /// Whether there is any limit.
    pub fn is_limited(self) -> bool {
        self.bytes.is_some() || self.count.is_some()
    }
}

impl BlobConfig {
    /// `is_https`: how readers reach this server. Browsers do not go on from there to less.
    pub(super) fn read(reader: &mut Reader<'_>, store: Option<&BlobstoreConfig>, is_https: bool) -> Self {
        let unreferenced_ttl = read_ttl(reader, "PDS_BLOB_UNREFERENCED_TTL");
        let dereferenced_ttl = read_ttl(reader, "PDS_BLOB_DEREFERENCED_TTL");
        let quarantine = reader.strict_millis("PDS_BLOB_QUARANTINE").unwrap_or(Duration::from_hours(7 * 24));
        if !quarantine.is_zero() && quarantine < Duration::from_hours(1) {
            reader.problem("PDS_BLOB_QUARANTINE", "must be 0 or at least an hour, 3600000");
        }
        let quota = BlobQuota {
            bytes: reader.strict_int("PDS_BLOB_QUOTA_BYTES"),
            count: reader.strict_int("PDS_BLOB_QUOTA_COUNT"),
        };
        let delivery = BlobDelivery::read(reader, store, is_https);
        let metadata_policy = reader.parsed("PDS_BLOB_METADATA_POLICY").unwrap_or_default();
        Self { unreferenced_ttl, dereferenced_ttl, quarantine, metadata_policy, quota, delivery }
    }
}

/// Shorter, and somebody who writes a long post loses the pictures.
fn read_ttl(reader: &mut Reader<'_>, name: &str) -> Duration {
    let ttl = reader.strict_millis(name).unwrap_or(Duration::from_hours(24));
    if ttl < Duration::from_hours(1) {
        reader.problem(name, "must be at least an hour, 3600000");
    }
    ttl
}

impl BlobDelivery {
    fn read(reader: &mut Reader<'_>, store: Option<&BlobstoreConfig>, is_https: bool) -> Self {
        const REDIRECT: &str = "PDS_BLOB_REDIRECT";
        const PATTERN: &str = "PDS_BLOB_CDN_URL_PATTERN";
        let pattern: Option<CdnPattern> = reader.parsed(PATTERN);
        let presign = match reader.string(REDIRECT).as_deref() {
            Some("presign") => true,
            None | Some("none") => false,
            Some(_) => {
                reader.problem(REDIRECT, "must be presign or none");
                false
            }
        };
        match (pattern, presign) {
            (None, false) => Self::Stream,
            (Some(pattern), false) => {
                if is_https && !pattern.is_https() {
                    reader.problem(PATTERN, "must be https, as this server is");
                }
                Self::Cdn(pattern)
            }
            (None, true) => {
                match store {
                    Some(BlobstoreConfig::Disk(_)) => {
                        reader.problem(REDIRECT, "is presign, which only S3 can; blobs are in a folder");
                    }
                    Some(BlobstoreConfig::S3(s3)) if is_https && !s3.is_public_https() => {
                        let text = "must be https, as this server is, when PDS_BLOB_REDIRECT is presign";
                        reader.problem("PDS_BLOBSTORE_S3_PUBLIC_ENDPOINT", text);
                    }
                    Some(BlobstoreConfig::S3(_)) | None => {}
                }
                Self::Presign
            }
            (Some(_), true) => {
                reader.problem(PATTERN, format_args!("and {REDIRECT}=presign are both set; choose one"));
                Self::Stream
            }
        }
    }
}

impl CdnPattern {
    const DID: &str = "{did}";
    const CID: &str = "{cid}";

    fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Where a blob is.
    pub fn url(&self, did: &Did, cid: Cid) -> String {
        // A DID may hold percent signs, which must not be read as escapes.
        let did: String = byte_serialize(did.as_str().as_bytes()).collect();
        self.0.replace(Self::DID, &did.replace("%3A", ":")).replace(Self::CID, &cid.to_string())
    }
}

impl FromStr for CdnPattern {
    type Err = CdnPatternError;

    fn from_str(text: &str) -> Result<Self, CdnPatternError> {
        let sample = |did: &str, cid: &str| {
            let url = Url::parse(&text.replace(Self::DID, did).replace(Self::CID, cid)).ok()?;
            let is_sent = [did, cid].iter().all(|name| url[Position::BeforePath..Position::AfterQuery].contains(name));
            (is_sent && matches!(url.scheme(), "http" | "https")).then_some(url)
        };
        let (one, other) = (sample("did:plc:one", "bafkreione"), sample("did:plc:other", "bafkreiother"));
        let (one, other) = one.zip(other).ok_or(CdnPatternError)?;
        let server = |url: &Url| url[..Position::BeforePath].to_owned();
        // One server for all, and nothing that ends a header.
        if server(&one) == server(&other) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CdnPatternError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_account_and_blob() {
        let pattern: CdnPattern = "https://cdn.example.com/blocks/{did}/{cid}?v=1".parse().unwrap();
        let (plc, web): (Did, Did) =
            ("did:plc:alicealicealicealicealic".parse().unwrap(), "did:web:a.test%3A8443".parse().unwrap());
        let cid = Cid::raw(b"picture");
        let prefix = "https://cdn.example.com/blocks";
        assert_eq!(pattern.url(&plc, cid), format!("{prefix}/{plc}/{cid}?v=1"));
        assert_eq!(pattern.url(&web, cid), format!("{prefix}/did:web:a.test%253A8443/{cid}?v=1"));
        for bad in [
            "",
            "/{did}/{cid}",
            "https://cdn.example.com/{did}",
            "https://cdn.example.com/{cid}",
            "ftp://cdn.example.com/{did}/{cid}",
            "https://{did}/{cid}",
            "https://{cid}.example.com/{did}/{cid}",
            "https://{did}@example.com/{cid}",
            "https://cdn.example.com/{did}#{cid}",
            "https://cdn.example.com/{did}/{cid}\r\nset-cookie: a=b",
        ] {
            assert_eq!(bad.parse::<CdnPattern>(), Err(CdnPatternError), "{bad:?}");
        }
    }
}
