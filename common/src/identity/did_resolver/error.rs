//! Why there is no document.

use std::sync::Arc;

use atproto::identity::{DidDocument, DidDocumentError};

use crate::http::FetchError;
use crate::identity::PlcError;

/// Why a document could not be had. A DID without one is no error.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The PLC directory failed.
    #[error("cannot get the document of a did:plc")]
    Plc(#[source] PlcError),
    /// The site of a `did:web` was not reached.
    #[error("cannot get the document of a did:web")]
    Web(#[source] FetchError),
    /// The site of a `did:web` has something else.
    #[error("a did:web has an unusable document")]
    Document(#[source] DidDocumentError),
    /// Its owner has ended it.
    #[error("the DID has been ended by its owner")]
    Deactivated,
    /// It took longer than `PDS_ID_RESOLVER_TIMEOUT`.
    #[error("getting a DID document took too long")]
    Timeout,
    /// Postgres failed.
    #[error("DID document storage failed")]
    Storage(#[from] sqlx::Error),
}

/// Why nothing is remembered of a DID. Callers who waited together get the same error.
#[derive(Clone, Debug)]
pub(super) enum Miss {
    Unknown,
    Failed(Arc<ResolveError>),
}

impl From<ResolveError> for Miss {
    fn from(error: ResolveError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl From<sqlx::Error> for Miss {
    fn from(error: sqlx::Error) -> Self {
        ResolveError::from(error).into()
    }
}

impl Miss {
    /// True if the DID has no document, rather than that it could not be had.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Failed(error) => matches!(**error, ResolveError::Deactivated),
        }
    }

    pub(super) fn into_result(self) -> Result<Option<Arc<DidDocument>>, Arc<ResolveError>> {
        match self {
            Self::Unknown => Ok(None),
            Self::Failed(error) => Err(error),
        }
    }
}
