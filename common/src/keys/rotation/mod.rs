//! The key that signs this server's PLC operations: at hand, or in a key management service.

mod kms;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use atproto::crypto::{PublicKey, SIGNATURE_LEN, SigningKey, SigningKeyError};
use atproto::identity::plc::{Operation, OperationError, UnsignedOperation};
use futures_util::future::{BoxFuture, FutureExt as _, ready};

use crate::config::PlcRotationKey;
use kms::KmsKey;

/// Who can sign with the rotation key. Its secret half need not be in this process.
pub trait RotationSigner: fmt::Debug + Send + Sync {
    /// The public half, a secp256k1 key.
    fn public_key(&self) -> BoxFuture<'_, Result<PublicKey, RotationKeyError>>;

    /// Signs the SHA-256 of `message`: r and s, s in the lower half.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; SIGNATURE_LEN], RotationKeyError>>;
}

/// The rotation key; cheap to clone. `Debug` shows nothing secret.
#[derive(Clone, Debug)]
pub struct RotationKey(Arc<dyn RotationSigner>);

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum RotationKeyError {
    /// The key management service was not reached, or refused. It may be asked again later.
    #[error("the key management service did not do what it was asked")]
    Service(#[source] Box<dyn Error + Send + Sync>),
    /// The key management service has another kind of key, or its signature does not verify.
    #[error("the key management service's answer cannot be used: {0}")]
    Unusable(&'static str),
    /// The operation cannot be encoded.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

impl RotationKey {
    /// The key that the settings name. One in a key management service is not asked for before it is used.
    ///
    /// # Errors
    /// If it is given, and is no secp256k1 key.
    pub fn from_config(config: &PlcRotationKey) -> Result<Self, SigningKeyError> {
        match config {
            PlcRotationKey::K256(key) => SigningKey::from_bytes(key.expose()).map(Self::new),
            PlcRotationKey::Kms(id) => Ok(Self::new(KmsKey::new(id.clone()))),
        }
    }

    /// A key that `signer` has.
    pub fn new(signer: impl RotationSigner + 'static) -> Self {
        Self(Arc::new(signer))
    }

    /// The public half.
    pub async fn public_key(&self) -> Result<PublicKey, RotationKeyError> {
        self.0.public_key().await
    }

    /// Signs an operation. What comes out verifies: a service that signed with something else is found out here, and not by
    /// the directory.
    pub async fn sign(&self, operation: UnsignedOperation) -> Result<Operation, RotationKeyError> {
        let key = self.0.public_key().await?;
        let signature = self.0.sign(&operation.signing_bytes()?).await?;
        let operation = operation.with_signature(signature);
        operation.verify(&[key]).map_err(|_| RotationKeyError::Unusable("its signature does not verify"))?;
        Ok(operation)
    }
}

impl RotationSigner for SigningKey {
    fn public_key(&self) -> BoxFuture<'_, Result<PublicKey, RotationKeyError>> {
        ready(Ok(Self::public_key(self))).boxed()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; SIGNATURE_LEN], RotationKeyError>> {
        ready(Ok(Self::sign(self, message))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use atproto::identity::plc::State;

    use super::*;

    fn genesis(key: &PublicKey) -> UnsignedOperation {
        UnsignedOperation::genesis(State::for_account(&[*key], key, &"alice.test".parse().unwrap(), "https://pds.test"))
    }

    #[tokio::test]
    async fn a_local_key_signs_what_the_directory_takes() {
        let key = SigningKey::generate(&mut rand::rng());
        let public = key.public_key();
        let rotation = RotationKey::new(key.clone());
        assert_eq!(rotation.public_key().await.unwrap(), public);
        let signed = rotation.sign(genesis(&public)).await.unwrap();
        signed.verify_genesis(&signed.did().unwrap()).unwrap();
        assert_eq!(signed, genesis(&public).sign(&key).unwrap());
        assert!(!format!("{rotation:?}").contains(&data_encoding::HEXLOWER.encode(&*key.to_bytes())));
    }

    /// Signs with another key than it says.
    #[derive(Debug)]
    struct Liar(SigningKey, PublicKey);

    impl RotationSigner for Liar {
        fn public_key(&self) -> BoxFuture<'_, Result<PublicKey, RotationKeyError>> {
            ready(Ok(self.1)).boxed()
        }

        fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; SIGNATURE_LEN], RotationKeyError>> {
            RotationSigner::sign(&self.0, message)
        }
    }

    #[tokio::test]
    async fn a_signature_that_does_not_verify_is_not_given_out() {
        let [one, other] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).unwrap());
        let public = other.public_key();
        let error = RotationKey::new(Liar(one, public)).sign(genesis(&public)).await.unwrap_err();
        assert!(matches!(error, RotationKeyError::Unusable(_)), "{error}");
    }
}
