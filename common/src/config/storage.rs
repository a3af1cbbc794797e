//! Where state is kept: Postgres and blobs. Redis is in `redis`.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::reader::Reader;

/// A server always holds one connection to hear of new events, and one for as long as it exports a repo. All else needs a
/// third.
const MIN_POOL_SIZE: u32 = 3;

/// An upload must come to its end before what is deleted meanwhile is forgotten.
const MAX_UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// The Postgres database.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `postgres://…`, the primary. `PDS_DATABASE_URL` (or `_FILE`), required.
    pub url: SecretString,
    /// A replica for public reads that need not see the caller's own writes. `PDS_DATABASE_READ_URL` (or `_FILE`).
    pub read_url: Option<SecretString>,
    /// Connections to the primary per process. `PDS_DATABASE_POOL_SIZE`, default 10, at least 3.
    pub pool_size: u32,
}

impl DatabaseConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let url = read_database_url(reader, "PDS_DATABASE_URL");
        let url = reader.require("PDS_DATABASE_URL", url);
        let read_url = read_database_url(reader, "PDS_DATABASE_READ_URL");
        let pool_size = reader.strict_int("PDS_DATABASE_POOL_SIZE").unwrap_or(10);
        if pool_size < MIN_POOL_SIZE {
            reader.problem("PDS_DATABASE_POOL_SIZE", format_args!("must be at least {MIN_POOL_SIZE}"));
        }
        Some(Self { url: url?, read_url, pool_size })
    }
}

fn read_database_url(reader: &mut Reader<'_>, name: &str) -> Option<SecretString> {
    let url = reader.secret(name)?;
    if ["postgres://", "postgresql://"].iter().any(|scheme| url.expose_secret().starts_with(scheme)) {
        return Some(url);
    }
    reader.problem(name, "must begin with postgres://");
    None
}

/// Where blob bytes are kept; exactly one of the two must be chosen.
#[derive(Clone, Debug)]
pub enum BlobstoreConfig {
    /// An S3 bucket. Selected by `PDS_BLOBSTORE_S3_BUCKET`.
    S3(S3Config),
    /// A directory of this machine; refused with more than one replica. Selected by `PDS_BLOBSTORE_DISK_LOCATION`.
    Disk(DiskConfig),
}

/// An S3-compatible bucket. What is unset is left to the SDK's own search.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// `PDS_BLOBSTORE_S3_BUCKET`.
    pub bucket: String,
    /// `PDS_BLOBSTORE_S3_REGION`.
    pub region: Option<String>,
    /// An `http` or `https` URL. `PDS_BLOBSTORE_S3_ENDPOINT`.
    pub endpoint: Option<String>,
    /// The URL under which readers reach the bucket, where that is another one: for presigned addresses.
    /// `PDS_BLOBSTORE_S3_PUBLIC_ENDPOINT`.
    pub public_endpoint: Option<String>,
    /// `PDS_BLOBSTORE_S3_FORCE_PATH_STYLE`.
    pub force_path_style: Option<bool>,
    /// Both halves or none.
    pub credentials: Option<S3Credentials>,
    /// Longest time for one whole upload. `PDS_BLOBSTORE_S3_UPLOAD_TIMEOUT_MS`, default 20 s, at
    /// most five minutes.
    pub upload_timeout: Duration,
    /// Longest time for one request. `PDS_BLOBSTORE_S3_REQUEST_TIMEOUT_MS`, default the upload time-out within 6–15 s.
    pub request_timeout: Duration,
    /// Whether requests carry checksums, and those of answers are looked at, also where S3 does not ask for it. Amazon's S3
    /// can, many others cannot. `PDS_BLOBSTORE_S3_CHECKSUMS`, default false.
    pub checksums: bool,
    /// Folder of this machine for uploads under way. `PDS_BLOBSTORE_DISK_TMP_LOCATION`, default the system's.
    pub tmp_location: PathBuf,
}

/// A static S3 key pair.
#[derive(Clone, Debug)]
pub struct S3Credentials {
    /// `PDS_BLOBSTORE_S3_ACCESS_KEY_ID` (or `_FILE`).
    pub access_key_id: SecretString,
    /// `PDS_BLOBSTORE_S3_SECRET_ACCESS_KEY` (or `_FILE`).
    pub secret_access_key: SecretString,
}

/// A blob directory.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// `PDS_BLOBSTORE_DISK_LOCATION`.
    pub location: PathBuf,
    /// Uploads under way; on the file system of `location`. `PDS_BLOBSTORE_DISK_TMP_LOCATION`, default `<location>/tempt`.
    pub tmp_location: PathBuf,
}

impl BlobstoreConfig {
    /// A folder, with uploads under way in the default place below it.
    pub fn on_disk(location: PathBuf) -> Self {
        Self::Disk(DiskConfig { tmp_location: location.join("tempt"), location })
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const S3: &str = "PDS_BLOBSTORE_S3_BUCKET";
        const DISK: &str = "PDS_BLOBSTORE_DISK_LOCATION";
        let tmp_location = reader.string("PDS_BLOBSTORE_DISK_TMP_LOCATION").map(PathBuf::from);
        match (S3Config::read(reader, tmp_location.as_ref()), reader.string(DISK).map(PathBuf::from)) {
            (Some(s3), None) => Some(Self::S3(s3)),
            (None, Some(location)) => Some(match tmp_location {
                Some(tmp_location) => Self::Disk(DiskConfig { location, tmp_location }),
                None => Self::on_disk(location),
            }),
            (Some(_), Some(_)) => {
                reader.problem(S3, format_args!("and {DISK} are both set; choose one blob store"));
                None
            }
            (None, None) => {
                reader.problem(S3, format_args!("or {DISK} is required"));
                None
            }
        }
    }
}

impl S3Config {
    /// Whether readers of the bucket reach it by https.
    pub(super) fn is_public_https(&self) -> bool {
        let endpoint = self.public_endpoint.as_ref().or(self.endpoint.as_ref());
        endpoint.is_none_or(|endpoint| endpoint.starts_with("https:"))
    }

    fn read(reader: &mut Reader<'_>, tmp_location: Option<&PathBuf>) -> Option<Self> {
        let region = reader.string("PDS_BLOBSTORE_S3_REGION");
        let mut endpoint = |name| reader.url(name).map(|url| url.as_str().trim_end_matches('/').to_owned());
        let public_endpoint = endpoint("PDS_BLOBSTORE_S3_PUBLIC_ENDPOINT");
        let endpoint = endpoint("PDS_BLOBSTORE_S3_ENDPOINT");
        let checksums = reader.strict_bool("PDS_BLOBSTORE_S3_CHECKSUMS").unwrap_or(false);
        let force_path_style = reader.bool("PDS_BLOBSTORE_S3_FORCE_PATH_STYLE");
        let upload_timeout = reader.millis("PDS_BLOBSTORE_S3_UPLOAD_TIMEOUT_MS").unwrap_or(Duration::from_secs(20));
        if upload_timeout > MAX_UPLOAD_TIMEOUT {
            reader.problem("PDS_BLOBSTORE_S3_UPLOAD_TIMEOUT_MS", "must be at most five minutes, 300000");
        }
        let request_timeout = reader
            .millis("PDS_BLOBSTORE_S3_REQUEST_TIMEOUT_MS")
            .unwrap_or_else(|| upload_timeout.clamp(Duration::from_secs(6), Duration::from_secs(15)));
        let id = reader.secret("PDS_BLOBSTORE_S3_ACCESS_KEY_ID");
        let secret = reader.secret("PDS_BLOBSTORE_S3_SECRET_ACCESS_KEY");
        let bucket = reader.string("PDS_BLOBSTORE_S3_BUCKET")?;
        if id.is_some() != secret.is_some() {
            let text = "and PDS_BLOBSTORE_S3_SECRET_ACCESS_KEY must be set together";
            reader.problem("PDS_BLOBSTORE_S3_ACCESS_KEY_ID", text);
        }
        let credentials =
            id.zip(secret).map(|(access_key_id, secret_access_key)| S3Credentials { access_key_id, secret_access_key });
        Some(Self {
            bucket,
            region,
            endpoint,
            public_endpoint,
            force_path_style,
            credentials,
            upload_timeout,
            request_timeout,
            checksums,
            tmp_location: tmp_location.cloned().unwrap_or_else(std::env::temp_dir),
        })
    }
}
