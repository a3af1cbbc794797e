//! A rotation key in AWS KMS: it never leaves there.
//!
//! Region, endpoint and credentials come from where every program with the AWS SDK finds them: `AWS_REGION`,
//! `AWS_ENDPOINT_URL_KMS`, `AWS_ACCESS_KEY_ID` and the rest of the environment, the shared configuration files, the role of
//! the pod or machine. The role needs `kms:GetPublicKey` and `kms:Sign`.
//!
//! Source: docs.aws.amazon.com/kms/latest/APIReference, `GetPublicKey` and `Sign`.

use std::error::Error;
use std::time::Duration;

use atproto::crypto::{PublicKey, SIGNATURE_LEN, compact_k256_signature};
use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, MessageType, SigningAlgorithmSpec};
use futures_util::future::{BoxFuture, FutureExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::{RotationKeyError, RotationSigner};

/// How long a call may take, its retries included: somebody is waiting for their account.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(3);

/// A key in AWS KMS. Nothing is asked before it is first used, so a server starts while KMS is away.
#[derive(Debug)]
pub(super) struct KmsKey {
    id: String,
    client: OnceCell<Client>,
    /// It never changes: KMS does not rotate keys of this kind.
    public: OnceCell<PublicKey>,
}

impl KmsKey {
    /// The key with this id, ARN or alias (`alias/…`): `PDS_PLC_ROTATION_KEY_KMS_KEY_ID`.
    pub(super) fn new(id: String) -> Self {
        Self { id, client: OnceCell::new(), public: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(connect).await
    }

    async fn fetch_public_key(&self) -> Result<PublicKey, RotationKeyError> {
        let answer = self.client().await.get_public_key().key_id(&self.id).send().await.map_err(service)?;
        if answer.key_spec() != Some(&KeySpec::EccSecgP256K1) {
            return Err(RotationKeyError::Unusable("the key's spec is not ECC_SECG_P256K1"));
        }
        let der = answer.public_key().map(AsRef::as_ref).unwrap_or_default();
        PublicKey::from_k256_spki(der).map_err(|_| RotationKeyError::Unusable("the public key cannot be read"))
    }

    async fn sign_digest(&self, digest: [u8; 32]) -> Result<[u8; SIGNATURE_LEN], RotationKeyError> {
        let request = self.client().await.sign().key_id(&self.id).message(Blob::new(digest));
        let request = request.message_type(MessageType::Digest).signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let answer = request.send().await.map_err(service)?;
        let der = answer.signature().map(AsRef::as_ref).unwrap_or_default();
        compact_k256_signature(der).map_err(|_| RotationKeyError::Unusable("the signature cannot be read"))
    }
}

impl RotationSigner for KmsKey {
    fn public_key(&self) -> BoxFuture<'_, Result<PublicKey, RotationKeyError>> {
        async { self.public.get_or_try_init(|| self.fetch_public_key()).await.copied() }.boxed()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<[u8; SIGNATURE_LEN], RotationKeyError>> {
        self.sign_digest(Sha256::digest(message).into()).boxed()
    }
}

async fn connect() -> Client {
    let limits = TimeoutConfig::builder().operation_timeout(CALL_LIMIT).operation_attempt_timeout(TRY_LIMIT).build();
    Client::new(&aws_config::defaults(BehaviorVersion::latest()).timeout_config(limits).load().await)
}

fn service(error: impl Error + Send + Sync + 'static) -> RotationKeyError {
    RotationKeyError::Service(Box::new(error))
}

#[cfg(test)]
mod tests {
    use atproto::identity::plc::{State, UnsignedOperation};
    use aws_config::Region;
    use aws_sdk_kms::config::Credentials;

    use super::*;
    use crate::keys::RotationKey;
    use crate::testing::FakeKms;

    /// A key of a fake KMS, with credentials of which the second half is `secret`.
    fn key(kms: &FakeKms, id: &str, secret: &str) -> RotationKey {
        let credentials = Credentials::new(FakeKms::ACCESS_KEY_ID, secret, None, None, "test");
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(FakeKms::REGION))
            .endpoint_url(kms.url())
            .credentials_provider(credentials)
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .build();
        let client = OnceCell::new_with(Some(Client::from_conf(config)));
        RotationKey::new(KmsKey { client, ..KmsKey::new(id.to_owned()) })
    }

    fn operation(key: PublicKey) -> UnsignedOperation {
        UnsignedOperation::genesis(State::for_account(&[key], &key, &"alice.test".parse().unwrap(), "https://pds.test"))
    }

    #[tokio::test]
    async fn operations_are_signed_as_the_directory_wants_them() {
        let kms = FakeKms::start().await;
        let key = key(&kms, FakeKms::KEY_ID, FakeKms::SECRET_ACCESS_KEY);
        let public = key.public_key().await.unwrap();
        assert_eq!(public, kms.public_key());
        for _ in 0..2 {
            let signed = key.sign(operation(public)).await.unwrap();
            signed.verify_genesis(&signed.did().unwrap()).unwrap();
        }
        assert_eq!(kms.calls(), ["GetPublicKey", "Sign", "Sign"], "the public half is asked for once");
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_told_apart_from_what_may_come_back() {
        let kms = FakeKms::start().await;
        let unusable = key(&kms, FakeKms::P256_KEY_ID, FakeKms::SECRET_ACCESS_KEY).public_key().await.unwrap_err();
        assert!(matches!(unusable, RotationKeyError::Unusable(_)), "{unusable}");
        for key in [key(&kms, "alias/none", FakeKms::SECRET_ACCESS_KEY), key(&kms, FakeKms::KEY_ID, "guess")] {
            let refused = key.public_key().await.unwrap_err();
            assert!(matches!(refused, RotationKeyError::Service(_)), "{refused}");
        }

        let key = key(&kms, FakeKms::KEY_ID, FakeKms::SECRET_ACCESS_KEY);
        kms.set_down(true);
        assert!(matches!(key.public_key().await, Err(RotationKeyError::Service(_))));
        kms.set_down(false);
        let public = key.public_key().await.unwrap();
        kms.set_down(true);
        assert!(matches!(key.sign(operation(public)).await, Err(RotationKeyError::Service(_))));
        kms.set_down(false);
        key.sign(operation(public)).await.unwrap();
    }
}
