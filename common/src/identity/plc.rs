//! The PLC directory's client.

use std::sync::Arc;
use std::time::Duration;

use atproto::identity::plc::Operation;
use atproto::identity::{DidDocument, DidDocumentError, MAX_DOCUMENT_LEN};
use atproto::syntax::Did;
use bytes::Bytes;
use http::StatusCode;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use url::Url;

use super::metrics;
use crate::http::{Breaker, BreakerSettings, FetchError, read_limited};

/// Longest answer that is read, in bytes. An operation is shorter than a document.
const MAX_ANSWER: u64 = MAX_DOCUMENT_LEN as u64;

/// A directory that fails so often in a row is left alone for so long. Then one request tries it.
const BREAKER: BreakerSettings = BreakerSettings { failures: 10, rest: Duration::from_secs(5) };

/// Talks to the PLC directory that `PDS_DID_PLC_URL` names; cheap to clone, and clones share one circuit breaker.
///
/// While the directory fails, requests are refused at once for a few seconds at a time: nobody waits for time-outs, and a
/// directory that comes back is not met by everybody at the same moment.
#[derive(Clone, Debug)]
pub struct PlcClient {
    directory: Url,
    client: Client,
    /// How long a read may take; `None` leaves it to the client.
    read_timeout: Option<Duration>,
    breaker: Arc<Breaker>,
}

/// Why the directory did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PlcError {
    /// It answered with a status below 500: it did not like the request, and nothing happened.
    #[error("{message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The directory's explanation.
        message: String,
    },
    /// It answered with a status of 500 or more. Whether an operation was taken is not known.
    #[error("{message}")]
    Failed {
        /// The status.
        status: StatusCode,
        /// The directory's explanation.
        message: String,
    },
    /// It was not reached, or its answer was lost. Whether an operation was taken is not known.
    #[error("PLC directory could not be reached")]
    Unreachable(#[source] FetchError),
    /// It failed lately, and was not asked.
    #[error("PLC directory is not available right now")]
    Resting,
    /// It answered with something else than a DID document.
    #[error("PLC directory sent an unusable document")]
    Document(#[source] DidDocumentError),
    /// It answered with something else than an operation.
    #[error("PLC directory sent an unusable operation")]
    Operation(#[source] serde_json::Error),
}

impl PlcClient {
    /// Uses `client`, one of [`crate::http::internal`], whose time-out bounds every call.
    pub fn new(directory: Url, client: Client) -> Self {
        Self { directory, client, read_timeout: None, breaker: Arc::new(Breaker::new(BREAKER)) }
    }

    /// Lets reads take no longer than `limit`: somebody may be waiting for a DID document, while an operation that was sent
    /// is worth some patience.
    #[must_use]
    pub fn with_read_timeout(self, limit: Duration) -> Self {
        Self { read_timeout: Some(limit), ..self }
    }

    #[cfg(test)]
    fn with_breaker(self, settings: BreakerSettings) -> Self {
        Self { breaker: Arc::new(Breaker::new(settings)), ..self }
    }

    /// Adds an operation to a DID's chain.
    pub async fn submit(&self, did: &Did, operation: &Operation) -> Result<(), PlcError> {
        self.send(self.client.post(self.url(&[did.as_str()])).json(operation)).await.map(|_| ())
    }

    /// The document of a DID; `None` if the directory does not know it.
    pub async fn find_document(&self, did: &Did) -> Result<Option<DidDocument>, PlcError> {
        let body = self.find(&[did.as_str()]).await?;
        body.map(|body| DidDocument::parse(did, &body)).transpose().map_err(PlcError::Document)
    }

    /// The newest operation of a DID; `None` if the directory does not know it.
    pub async fn find_last_operation(&self, did: &Did) -> Result<Option<Operation>, PlcError> {
        let body = self.find(&[did.as_str(), "log", "last"]).await?;
        body.map(|body| serde_json::from_slice(&body)).transpose().map_err(PlcError::Operation)
    }

    async fn find(&self, path: &[&str]) -> Result<Option<Bytes>, PlcError> {
        let mut request = self.client.get(self.url(path));
        if let Some(limit) = self.read_timeout {
            request = request.timeout(limit);
        }
        match self.send(request).await {
            Ok(body) => Ok(Some(body)),
            Err(PlcError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Bytes, PlcError> {
        let Some(pass) = self.breaker.admit() else {
            metrics::plc_answered(metrics::Outcome::Resting);
            return Err(PlcError::Resting);
        };
        let result = exchange(request).await;
        let outcome = metrics::Outcome::of(&result);
        if outcome.is_failure() {
            pass.fail();
        } else {
            pass.succeed();
        }
        metrics::plc_answered(outcome);
        metrics::plc_open(self.breaker.is_open());
        result
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.directory.clone();
        // Only a URL like `data:` has no path, and the settings refuse those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

/// One request, as far as its answer.
async fn exchange(request: RequestBuilder) -> Result<Bytes, PlcError> {
    let response = request.send().await.map_err(|error| PlcError::Unreachable(error.into()))?;
    let status = response.status();
    let body = read_limited(response, MAX_ANSWER).await.map_err(PlcError::Unreachable)?;
    if status.is_success() {
        Ok(body)
    } else if status.is_server_error() {
        Err(PlcError::Failed { status, message: message(&body) })
    } else {
        Err(PlcError::Refused { status, message: message(&body) })
    }
}

/// What the directory says went wrong.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        message: String,
    }
    let answer = serde_json::from_slice::<Answer>(body);
    answer.map_or_else(|_| "Unable to perform PLC operation".to_owned(), |answer| answer.message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use atproto::crypto::SigningKey;
    use atproto::identity::plc::{State, UnsignedOperation};

    use super::*;
    use crate::testing::FakePlc;

    fn client(directory: Url) -> PlcClient {
        PlcClient::new(directory, crate::http::internal(Duration::from_secs(5)).unwrap())
    }

    fn genesis(key: &SigningKey) -> (Did, Operation) {
        let keys = [key.public_key()];
        let state = State::for_account(&keys, &key.public_key(), &"alice.test".parse().unwrap(), "https://pds.test");
        let operation = UnsignedOperation::genesis(state).sign(key).unwrap();
        (operation.did().unwrap(), operation)
    }

    #[tokio::test]
    async fn a_did_begins_and_ends() {
        let plc = FakePlc::start().await;
        let client = client(plc.url());
        let key = SigningKey::generate(&mut rand::rng());
        let (did, operation) = genesis(&key);
        assert!(client.find_document(&did).await.unwrap().is_none());
        assert!(client.find_last_operation(&did).await.unwrap().is_none());

        client.submit(&did, &operation).await.unwrap();
        let document = client.find_document(&did).await.unwrap().unwrap();
        assert_eq!(document.pds_endpoint(), Some("https://pds.test"));
        assert_eq!(client.find_last_operation(&did).await.unwrap(), Some(operation.clone()));

        let tombstone = UnsignedOperation::Tombstone { prev: operation.cid().unwrap() }.sign(&key).unwrap();
        client.submit(&did, &tombstone).await.unwrap();
        let gone = client.find_document(&did).await.unwrap_err();
        assert!(matches!(gone, PlcError::Refused { status: StatusCode::GONE, .. }), "{gone}");
    }

    #[tokio::test]
    async fn refusals_and_failures_are_told_apart() {
        let plc = FakePlc::start().await;
        let client = client(plc.url());
        let (did, _) = genesis(&SigningKey::generate(&mut rand::rng()));
        let (_, other) = genesis(&SigningKey::generate(&mut rand::rng()));
        let refused = client.submit(&did, &other).await.unwrap_err();
        assert!(matches!(refused, PlcError::Refused { status: StatusCode::BAD_REQUEST, .. }), "{refused}");
        assert_ne!(refused.to_string(), "Unable to perform PLC operation", "the directory's own words");

        plc.set_down(true);
        let failed = client.submit(&did, &other).await.unwrap_err();
        assert!(matches!(failed, PlcError::Failed { .. }), "{failed}");
        let unreachable = self::client("http://127.0.0.1:1".parse().unwrap()).find_document(&did).await.unwrap_err();
        assert!(matches!(unreachable, PlcError::Unreachable(_)), "{unreachable}");
    }

    #[tokio::test]
    async fn a_directory_that_fails_is_left_alone_and_tried_again() {
        let plc = FakePlc::start().await;
        let (did, _) = genesis(&SigningKey::generate(&mut rand::rng()));
        let with_rest = |rest| client(plc.url()).with_breaker(BreakerSettings { failures: 3, rest });
        plc.set_down(true);
        let patient = with_rest(Duration::from_hours(1));
        for _ in 0..3 {
            assert!(matches!(patient.find_document(&did).await, Err(PlcError::Failed { .. })));
        }
        assert!(matches!(patient.clone().find_document(&did).await, Err(PlcError::Resting)));
        assert_eq!(plc.documents_served(), 3, "the last was not sent");

        let eager = with_rest(Duration::ZERO);
        for _ in 0..4 {
            assert!(matches!(eager.find_document(&did).await, Err(PlcError::Failed { .. })));
        }
        plc.set_down(false);
        assert!(eager.find_document(&did).await.unwrap().is_none());
        assert!(!eager.breaker.is_open());
        assert!(matches!(patient.find_document(&did).await, Err(PlcError::Resting)));
    }

    #[tokio::test]
    async fn refusals_say_that_the_directory_is_well() {
        let plc = FakePlc::start().await;
        let client = client(plc.url()).with_breaker(BreakerSettings { failures: 1, rest: Duration::from_hours(1) });
        let (did, _) = genesis(&SigningKey::generate(&mut rand::rng()));
        let (_, other) = genesis(&SigningKey::generate(&mut rand::rng()));
        for _ in 0..3 {
            assert!(matches!(client.submit(&did, &other).await, Err(PlcError::Refused { .. })));
        }
    }
}
