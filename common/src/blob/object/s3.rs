//! Objects in a bucket of S3, or of what speaks like it.
//!
//! What the settings do not say, the SDK looks for where every program with it does: `AWS_REGION`, `AWS_ENDPOINT_URL_S3`,
//! `AWS_ACCESS_KEY_ID` and the rest of the environment, the shared configuration files, the role of the pod or machine. The
//! role needs `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject`, and `s3:ListBucket` of the bucket: without that one S3
//! answers 403 for an object that is not there.
//!
//! Source: docs.aws.amazon.com/AmazonS3/latest/API.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::form_urlencoded::byte_serialize;

use super::list::{Listed, Page};
use super::presigned::Presigned;
use super::spool::{Content, ContentBytes, check_folder};
use super::{Area, CheckError, OBEYED, Object, ObjectId, StoreError};
use crate::clock::Clock;
use crate::config::S3Config;

/// Time to open a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time for the look at the bucket when a server starts.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// The longest pause before the first further try; it doubles. Somebody is waiting for their picture.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the address of an object stays the same.
const SIGNING_SPAN: Duration = Duration::from_mins(5);
/// Stores other than Amazon's do not care which region they are in, but requests are signed for one.
const ANY_REGION: &str = "us-east-1";

/// What S3 calls it.
const NO_BUCKET: &str = "NoSuchBucket";
/// The same of objects; the second where an answer has no body, as that to HEAD.
const NO_OBJECT: [&str; 2] = ["NoSuchKey", "NotFound"];

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    config: S3Config,
    client: OnceCell<Client>,
    public_client: OnceCell<Client>,
}

impl Bucket {
    pub(super) fn new(config: S3Config) -> Self {
        Self { config, client: OnceCell::new(), public_client: OnceCell::new() }
    }

    /// Where uploads wait for their end.
    pub(super) fn uploads(&self) -> PathBuf {
        self.config.tmp_location.clone()
    }

    /// As [`super::Objects::check`].
    pub(super) async fn check(&self) -> Result<(), CheckError> {
        let folder = self.uploads();
        let checked =
            spawn_blocking(move || check_folder(&folder).map_err(|source| CheckError::Folder { folder, source }));
        checked.await.map_err(|error| CheckError::Unknown(StoreError::failed(error)))??;
        // Not a HEAD, whose answer says nothing of why: what is in front of a store may not find the store.
        let probe = async {
            let request = self.client().await.list_objects_v2().bucket(&self.config.bucket).max_keys(1);
            request.send().await
        };
        match timeout(CHECK_LIMIT, probe).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.code() == Some(NO_BUCKET) => Err(CheckError::NoBucket(self.config.bucket.clone())),
            Ok(Err(error)) => Err(CheckError::Unknown(failed(error))),
            Err(_) => Err(CheckError::Unknown(StoreError::Timeout)),
        }
    }

    pub(super) async fn put(&self, id: ObjectId<'_>, content: Content) -> Result<(), StoreError> {
        let body = match &content.bytes {
            ContentBytes::Memory(bytes) => ByteStream::from(bytes.clone()),
            // Read from the file, it can be sent again.
            ContentBytes::File(file) => {
                ByteStream::read_from().path(file.path()).build().await.map_err(StoreError::failed)?
            }
        };
        let request = self.client().await.put_object().bucket(&self.config.bucket).key(key(id, Area::InUse)).body(body);
        // How long an upload takes depends on its size, unlike all else.
        let limits = limits(self.config.upload_timeout, self.config.upload_timeout);
        let sending = request.customize().config_override(Builder::new().timeout_config(limits)).send();
        timeout(self.config.upload_timeout, sending).await.map_err(|_| StoreError::Timeout)?.map_err(failed)?;
        Ok(())
    }

    pub(super) async fn get(
        &self,
        id: ObjectId<'_>,
        area: Area,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError> {
        let request = self.client().await.get_object().bucket(&self.config.bucket).key(key(id, area));
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let Some(answer) = present(request.set_range(range).send().await)? else { return Ok(None) };
        let (len, limit) = (length(answer.content_length)?, self.config.request_timeout);
        // The SDK's limits end with the head of an answer. What a reader takes its time for does not count.
        let bytes = stream::try_unfold(answer.body, move |mut body| async move {
            let piece = timeout(limit, body.try_next()).await.map_err(|_| ErrorKind::TimedOut)?;
            let piece = piece.map_err(io::Error::other)?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, body)))
        });
        Ok(Some(Object { len, bytes: bytes.boxed() }))
    }

    /// As [`super::Objects::presign`]. Asks nobody, unless for credentials.
    pub(super) async fn presign(
        &self,
        id: ObjectId<'_>,
        media_type: &str,
        lifetime: Duration,
    ) -> Result<String, StoreError> {
        let request = self.public_client().await.get_object().bucket(&self.config.bucket).key(key(id, Area::InUse));
        let request = request.response_content_type(media_type).response_content_disposition(attachment(id));
        let request = request.response_cache_control("private, max-age=86400, immutable");
        let config = PresigningConfig::builder().start_time(signing_time()).expires_in(lifetime).build();
        let config = config.map_err(StoreError::failed)?;
        Ok(request.presigned(config).await.map_err(failed)?.uri().to_owned())
    }

    pub(super) async fn size(&self, id: ObjectId<'_>, area: Area) -> Result<Option<u64>, StoreError> {
        let request = self.client().await.head_object().bucket(&self.config.bucket).key(key(id, area));
        present(request.send().await)?.map(|answer| length(answer.content_length)).transpose()
    }

    /// Signed as of `looked_at`, the store itself refuses it when its time is up.
    pub(super) async fn delete(
        &self,
        id: ObjectId<'_>,
        area: Area,
        looked_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let request = self.client().await.delete_object().bucket(&self.config.bucket).key(key(id, area));
        let config = PresigningConfig::builder().start_time(looked_at.into()).expires_in(OBEYED).build();
        let signed = request.clone().presigned(config.map_err(StoreError::failed)?).await.map_err(failed)?;
        present(request.customize().interceptor(Presigned::new(&signed)).send().await)?;
        Ok(())
    }

    pub(super) async fn copy(&self, id: ObjectId<'_>, from: Area, to: Area) -> Result<bool, StoreError> {
        let parts: Vec<String> = key(id, from).split('/').map(encoded).collect();
        let source = format!("{}/{}", self.config.bucket, parts.join("/"));
        let request = self.client().await.copy_object().bucket(&self.config.bucket).key(key(id, to));
        Ok(present(request.copy_source(source).send().await)?.is_some())
    }

    /// A page of the objects in an area, after the token of the page before, and the token of the next one.
    pub(super) async fn list(&self, area: Area, token: Option<String>) -> Result<(Page, Option<String>), StoreError> {
        let prefix = prefix(area);
        let request = self.client().await.list_objects_v2().bucket(&self.config.bucket).prefix(prefix);
        let answer = request.set_continuation_token(token).send().await.map_err(failed)?;
        let mut page = Page::default();
        for object in answer.contents() {
            match listed(object, prefix) {
                Some(object) => page.objects.push(object),
                None => page.foreign += 1,
            }
        }
        Ok((page, answer.next_continuation_token))
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| connect(&self.config)).await
    }

    /// Signs for the address under which readers reach the bucket.
    async fn public_client(&self) -> &Client {
        let Some(endpoint) = &self.config.public_endpoint else { return self.client().await };
        let connect = async || {
            let config = self.client().await.config().to_builder().endpoint_url(endpoint).build();
            Client::from_conf(config)
        };
        self.public_client.get_or_init(connect).await
    }
}

async fn connect(config: &S3Config) -> Client {
    let shared = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(limits(config.request_timeout, config.request_timeout * 2))
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(PAUSE));
    let shared = match (&config.region, &config.endpoint) {
        (Some(region), _) => shared.region(Region::new(region.clone())),
        (None, Some(_)) => shared.region(Region::from_static(ANY_REGION)),
        (None, None) => shared,
    };
    let shared = match &config.credentials {
        Some(pair) => shared.credentials_provider(Credentials::new(
            pair.access_key_id.expose_secret(),
            pair.secret_access_key.expose_secret(),
            None,
            None,
            "settings",
        )),
        None => shared,
    };
    let mut builder = Builder::from(&shared.load().await);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if let Some(path_style) = config.force_path_style {
        builder = builder.force_path_style(path_style);
    }
    if !config.checksums {
        builder = builder
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Client::from_conf(builder.build())
}

/// Time for one try of a request up to the head of its answer, and for all tries.
fn limits(one: Duration, all: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(one)
        .operation_timeout(all)
        .build()
}

fn key(id: ObjectId<'_>, area: Area) -> String {
    format!("{}{id}", prefix(area))
}

fn prefix(area: Area) -> &'static str {
    match area {
        Area::InUse => "blocks/",
        Area::Quarantine => "quarantine/",
    }
}

/// An object of a listing; `None` if it is none of ours.
fn listed(object: &types::Object, prefix: &str) -> Option<Listed> {
    let (did, cid) = object.key()?.strip_prefix(prefix)?.split_once('/')?;
    let modified = object.last_modified()?;
    Some(Listed {
        did: did.parse().ok()?,
        cid: cid.parse().ok()?,
        size: object.size()?.try_into().ok()?,
        modified: DateTime::from_timestamp(modified.secs(), modified.subsec_nanos())?,
    })
}

/// The beginning of a span of minutes: an address that is the same for that long is one that caches know.
fn signing_time() -> SystemTime {
    let now = Clock::system().now().timestamp().unsigned_abs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(now - now % SIGNING_SPAN.as_secs())
}

/// What keeps browsers from showing an object as a page.
fn attachment(id: ObjectId<'_>) -> String {
    format!("attachment; filename=\"{}\"", id.cid)
}

/// Part of a key as a copy's source wants it.
fn encoded(part: &str) -> String {
    byte_serialize(part.as_bytes()).collect()
}

fn length(content_length: Option<i64>) -> Result<u64, StoreError> {
    let length = content_length.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| StoreError::failed("the store does not say how long an object is"))
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// What is not there is no error, if it is the store that says so: what is in front of it says 404, too.
fn present<T, E>(result: Result<T, SdkError<E>>) -> Result<Option<T>, StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if status(&error) == Some(404) && error.code().is_some_and(|code| NO_OBJECT.contains(&code)) => {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(error: SdkError<E>) -> StoreError {
    match error {
        SdkError::TimeoutError(_) => StoreError::Timeout,
        // So end connections that do not come about, and requests of which the store stopped reading the body.
        SdkError::DispatchFailure(failure) if failure.is_timeout() => StoreError::Timeout,
        error => StoreError::failed(error),
    }
}
