//! Whether an account's DID says that its home is here.

use atproto::crypto::PublicKey;
use atproto::identity::DidDocument;
use atproto::syntax::Did;

use super::{Lifecycle, Workflows, is_plc};
use crate::account::AccountId;
use crate::identity::PlcError;
use crate::keys::RotationKeyError;

/// What is wrong with a DID, for an account that is to be open here. Except for the last variants the text is what the
/// wire shows.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The directory would not take operations from this server.
    #[error("Server rotation key not included in PLC DID data")]
    NoRotationKey,
    /// Its document cannot be had.
    #[error("Could not resolve DID")]
    Unresolved,
    /// It names another server.
    #[error("DID document atproto_pds service endpoint does not match PDS public url")]
    Endpoint,
    /// It names another key.
    #[error("DID document verification method does not match expected signing key")]
    SigningKey,
    /// There is no such account.
    #[error("Account not found")]
    NotFound,
    /// The directory failed.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The server's own key cannot be had.
    #[error(transparent)]
    RotationKey(#[from] RotationKeyError),
    /// The account's key cannot be had.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

impl StandingError {
    /// True if it says something of the DID, rather than that nothing could be found out.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::NoRotationKey | Self::Unresolved | Self::Endpoint | Self::SigningKey)
    }
}

impl Lifecycle {
    /// Checks, as of now, that the DID of an account names this server and the account's key, and that of a `did:plc` the
    /// directory takes operations from this server.
    pub async fn check_standing(&self, account: AccountId, did: &Did) -> Result<(), StandingError> {
        let workflows = &*self.0;
        if is_plc(did) {
            workflows.check_rotation_key(did).await?;
        }
        let document = workflows.services.resolver.refresh_document(did).await.map_err(|error| {
            tracing::debug!(%did, error = &*error as &dyn std::error::Error, "no DID document");
            StandingError::Unresolved
        })?;
        let key = workflows.services.keys.find_public_key(account).await?.ok_or(StandingError::NotFound)?;
        let document = document.ok_or(StandingError::Unresolved)?;
        check_document(&document, &workflows.policy.public_url, key)
    }
}

impl Workflows {
    async fn check_rotation_key(&self, did: &Did) -> Result<(), StandingError> {
        let last = self.services.plc.find_last_operation(did).await?.ok_or(StandingError::Unresolved)?;
        let state = last.state().ok_or(StandingError::Unresolved)?;
        let ours = self.policy.rotation_key.public_key().await?.to_string();
        if state.rotation_keys.contains(&ours) { Ok(()) } else { Err(StandingError::NoRotationKey) }
    }
}

fn check_document(document: &DidDocument, url: &str, key: PublicKey) -> Result<(), StandingError> {
    if document.pds_endpoint() != Some(url) {
        return Err(StandingError::Endpoint);
    }
    if document.signing_key() == Some(key) { Ok(()) } else { Err(StandingError::SigningKey) }
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;

    use super::*;
    use crate::lifecycle::NewAccount;
    use crate::lifecycle::tests::world::{WebDid, request, world};

    #[tokio::test]
    async fn a_did_must_name_this_server_and_the_accounts_key() {
        let world = world().await;
        let (alice, replica) = (world.create_account("alice").await, world.replica());
        let verdict = async || replica.check_standing(alice.id, &alice.did).await;
        verdict().await.unwrap();
        let here = world.plc.state(&alice.did).unwrap();
        let stranger = SigningKey::generate(&mut rand::rng()).public_key().to_string();

        world.change_did(&alice.did, |state| {
            state.verification_methods.insert("atproto".to_owned(), stranger.clone());
        });
        let wrong = verdict().await.unwrap_err();
        assert!(matches!(wrong, StandingError::SigningKey), "{wrong}");
        world.change_did(&alice.did, |state| {
            state.services.get_mut("atproto_pds").unwrap().endpoint = "https://other.test".to_owned();
        });
        let wrong = verdict().await.unwrap_err();
        assert!(matches!(wrong, StandingError::Endpoint), "{wrong}");
        world.change_did(&alice.did, |state| *state = here.clone());
        verdict().await.unwrap();

        world.plc.set_down(true);
        let unknown = verdict().await.unwrap_err();
        assert!(matches!(unknown, StandingError::Plc(_)) && !unknown.is_verdict(), "{unknown}");
        world.plc.set_down(false);
        // The last: after that nothing can be changed with the server's key.
        world.change_did(&alice.did, |state| state.rotation_keys = vec![stranger.clone()]);
        let wrong = verdict().await.unwrap_err();
        assert!(matches!(wrong, StandingError::NoRotationKey) && wrong.is_verdict(), "{wrong}");
    }

    #[tokio::test]
    async fn a_did_web_needs_no_rotation_key() {
        let world = world().await;
        let (web, replica) = (WebDid::start().await, world.replica());
        let new = NewAccount { did: Some(web.did.clone()), proven_did: Some(web.did.clone()), ..request("alice") };
        let account = replica.create_account(new).await.unwrap().id;
        let verdict = async || replica.check_standing(account, &web.did).await;
        let wrong = verdict().await.unwrap_err();
        assert!(matches!(wrong, StandingError::Unresolved), "{wrong}");
        let key = replica.0.services.keys.find_signing_key(account, &web.did).await.unwrap().unwrap();
        web.write("alice.test", &key.public_key(), "https://other.test");
        let wrong = verdict().await.unwrap_err();
        assert!(matches!(wrong, StandingError::Endpoint), "{wrong}");
        web.write("alice.test", &key.public_key(), &world.config.public_url());
        verdict().await.unwrap();
    }

    #[tokio::test]
    async fn a_did_that_the_directory_does_not_know_does_not_resolve() {
        let world = world().await;
        let (replica, did) = (world.replica(), "did:plc:moving".parse::<Did>().unwrap());
        let new = NewAccount { did: Some(did.clone()), proven_did: Some(did.clone()), ..request("alice") };
        let account = replica.create_account(new).await.unwrap().id;
        let wrong = replica.check_standing(account, &did).await.unwrap_err();
        assert!(matches!(wrong, StandingError::Unresolved), "{wrong}");
    }
}
