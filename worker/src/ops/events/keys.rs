//! Whose signature a commit should bear.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use atproto::crypto::PublicKey;
use atproto::identity::{DidDocument, did_web_document_url};
use atproto::syntax::Did;
use common::config::FetchConfig;
use common::http::{self, GuardedClient};
use common::identity::PlcClient;
use common::repo::Verifier;

/// Keys to remember; with more, all are forgotten.
const REMEMBERED: usize = 100_000;
/// How long the PLC directory may take.
const PLC_TIMEOUT: Duration = Duration::from_secs(10);

/// Where keys are to be had.
pub(super) enum Place {
    /// This server's database.
    Database(Verifier),
    /// The accounts' DID documents.
    Documents {
        /// For `did:plc`.
        plc: PlcClient,
        /// For `did:web`.
        web: GuardedClient,
    },
}

impl Place {
    /// The DID documents, those of `did:plc` from the directory at this URL.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn documents(plc: url::Url, fetch: &FetchConfig) -> anyhow::Result<Self> {
        let web = GuardedClient::for_documents(fetch).context("cannot set TLS up")?;
        let plc = PlcClient::new(plc, http::internal(PLC_TIMEOUT).context("cannot set TLS up")?);
        Ok(Self::Documents { plc, web })
    }

    async fn find(&self, did: &Did) -> anyhow::Result<Option<PublicKey>> {
        match self {
            Self::Database(repos) => Ok(repos.find_public_key(did).await?),
            Self::Documents { plc, web } => {
                let document = match did_web_document_url(did) {
                    Some(url) => {
                        let answer = web.fetch(&url, "application/did+ld+json, application/json", 0).await?;
                        answer.status.is_success().then(|| DidDocument::parse(did, &answer.body)).transpose()?
                    }
                    None => plc.find_document(did).await?,
                };
                Ok(document.and_then(|document| document.signing_key()))
            }
        }
    }
}

/// Finds keys, each once.
pub(super) struct Keys {
    place: Place,
    known: HashMap<Did, Option<Arc<PublicKey>>>,
}

impl Keys {
    pub(super) fn new(place: Place) -> Self {
        Self { place, known: HashMap::new() }
    }

    /// The key of an account; `None` if it has none.
    ///
    /// # Errors
    /// If nobody could tell.
    pub(super) async fn find(&mut self, did: &Did) -> anyhow::Result<Option<Arc<PublicKey>>> {
        if let Some(key) = self.known.get(did) {
            return Ok(key.clone());
        }
        let key = self.place.find(did).await.with_context(|| format!("cannot find the key of {did}"))?.map(Arc::new);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(did.clone(), key.clone());
        Ok(key)
    }

    /// Forgets a key: its account may have got another one.
    pub(super) fn forget(&mut self, did: &Did) {
        self.known.remove(did);
    }
}
