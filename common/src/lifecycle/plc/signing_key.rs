//! Having a DID name the key that its account signs with.
//!
//! Whoever reads a repo checks its commits with the key that the DID names. If that is another than the account's, because
//! the DID was changed elsewhere or an operation of an old backup was sent, nobody believes the account any more.

use atproto::crypto::PublicKey;
use atproto::identity::SIGNING_KEY_ID;
use atproto::identity::plc::State;

use super::{PlcChanges, PlcOperationError, require_plc};
use crate::account::Principal;
use crate::lifecycle::{Lifecycle, Workflows};

impl Lifecycle {
    /// The key that a DID names as its account's, as a `did:key`; `None` if it names none.
    pub async fn named_signing_key(&self, account: &Principal) -> Result<Option<String>, PlcOperationError> {
        let mut state = self.0.current_state(account).await?;
        Ok(state.verification_methods.remove(SIGNING_KEY_ID))
    }

    /// Has the DID of an account name `key`, and announces that. A DID that names it already is announced again.
    ///
    /// It must be the key with which the account signs here: with any other, all its commits would be refused.
    pub async fn name_signing_key(&self, account: Principal, key: &PublicKey) -> Result<(), PlcOperationError> {
        let held = self.0.services.keys.find_public_key(account.id).await?.ok_or(PlcOperationError::AccountGone)?;
        if held != *key {
            return Err(PlcOperationError::Estranges("The account does not sign with this key"));
        }
        let mut methods = self.0.current_state(&account).await?.verification_methods;
        if methods.insert(SIGNING_KEY_ID.to_owned(), key.to_string()) == Some(key.to_string()) {
            self.announcements().announce(&account, None).await?;
            return Ok(());
        }
        let changes = PlcChanges { verification_methods: Some(methods), ..PlcChanges::default() };
        let operation = self.draft_plc_operation(&account.did, changes).await?;
        let operation = self.sign_plc_operation(operation).await?;
        self.submit_plc_operation(account, operation).await
    }
}

impl Workflows {
    /// What the directory has of a DID now.
    async fn current_state(&self, account: &Principal) -> Result<State, PlcOperationError> {
        require_plc(&account.did)?;
        let last = self.services.plc.find_last_operation(&account.did).await?;
        last.ok_or(PlcOperationError::Unregistered)?.state().ok_or(PlcOperationError::Tombstoned)
    }
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;

    use super::*;
    use crate::lifecycle::tests::world::world;

    #[tokio::test]
    async fn a_did_is_made_to_name_the_accounts_key() {
        let world = world().await;
        let (alice, replica) = (world.create_account("alice").await, world.replica());
        let account = replica.0.services.accounts.find_principal(&alice.did).await.unwrap().unwrap();
        let ours = world.plc.state(&alice.did).unwrap();
        let key: PublicKey = ours.verification_methods[SIGNING_KEY_ID].parse().unwrap();
        let stranger = SigningKey::generate(&mut rand::rng()).public_key();
        world.change_did(&alice.did, |state| {
            state.verification_methods.insert(SIGNING_KEY_ID.to_owned(), stranger.to_string());
        });
        assert_eq!(replica.named_signing_key(&account).await.unwrap(), Some(stranger.to_string()));
        let refused = replica.name_signing_key(account.clone(), &stranger).await;
        assert!(matches!(refused, Err(PlcOperationError::Estranges(_))), "{refused:?}");

        let before = world.told(&alice.did).await.len();
        replica.name_signing_key(account.clone(), &key).await.unwrap();
        assert_eq!(world.plc.state(&alice.did).unwrap(), ours);
        let operations = world.plc.operations(&alice.did).len();
        replica.name_signing_key(account.clone(), &key).await.unwrap();
        assert_eq!(world.plc.operations(&alice.did).len(), operations, "it names it already");
        assert_eq!(world.told(&alice.did).await.len(), before + 2);
    }
}
