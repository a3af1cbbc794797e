//! Secrets, and the one type they need beside [`SecretString`].

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::reader::Reader;

/// 32 secret bytes: zeroed when dropped, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key32(Zeroizing<[u8; 32]>);

impl Key32 {
    /// Takes the bytes as they are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads exactly 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?);
        bytes.as_slice().try_into().ok().map(Self::from_bytes)
    }

    /// The bytes; keep the borrow short and copy them nowhere.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32([REDACTED])")
    }
}

/// What signs the server's PLC operations.
#[derive(Clone, Debug)]
pub enum PlcRotationKey {
    /// A secp256k1 private key. `PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX`.
    K256(Key32),
    /// The id of a key that never leaves AWS KMS. `PDS_PLC_ROTATION_KEY_KMS_KEY_ID`.
    Kms(String),
}

/// The secrets of the server itself. Each variable may be given as `NAME_FILE` instead.
#[derive(Clone, Debug)]
pub struct SecretsConfig {
    /// HS256 key of session tokens, OAuth access tokens and page tokens. `PDS_JWT_SECRET`, required.
    pub jwt_secret: SecretString,
    /// Another secret whose tokens are accepted; it never signs. `PDS_JWT_SECRET_PREVIOUS`.
    ///
    /// The secret changes without signing anybody out in three steps, each rolled out to all replicas before the next: the
    /// new one here; the two exchanged; after 90 days, the longest life of a token, none here.
    pub jwt_secret_previous: Option<SecretString>,
    /// Basic password of the user `admin`. `PDS_ADMIN_PASSWORD`, required.
    pub admin_password: SecretString,
    /// Seed of the DPoP nonces; unset means random per start. `PDS_DPOP_SECRET`, 64 hexadecimal digits.
    pub dpop_secret: Option<Key32>,
    /// Exactly one of its two variables is required.
    pub plc_rotation_key: PlcRotationKey,
    /// Seals the accounts' signing keys in the database. `PDS_KEY_ENCRYPTION_KEY`, 64 hexadecimal digits, required.
    pub key_encryption_key: Key32,
    /// Others that only open what they once sealed. `PDS_KEY_ENCRYPTION_KEY_PREVIOUS`, keys of 64 hexadecimal digits between
    /// commas.
    ///
    /// The key changes in the same three steps as the secret of tokens; before the last, `pds-worker keys rewrap` seals
    /// everything anew.
    pub key_encryption_keys_previous: Vec<Key32>,
}

impl SecretsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let jwt_secret = required(reader, "PDS_JWT_SECRET");
        let jwt_secret_previous = reader.secret("PDS_JWT_SECRET_PREVIOUS");
        let admin_password = required(reader, "PDS_ADMIN_PASSWORD");
        let dpop_secret = reader.key32("PDS_DPOP_SECRET");
        let plc_rotation_key = read_plc_rotation_key(reader);
        let key_encryption_key = reader.key32("PDS_KEY_ENCRYPTION_KEY");
        let key_encryption_key = reader.require("PDS_KEY_ENCRYPTION_KEY", key_encryption_key);
        let key_encryption_keys_previous = reader.key32_list("PDS_KEY_ENCRYPTION_KEY_PREVIOUS");
        Some(Self {
            key_encryption_keys_previous,
            jwt_secret: jwt_secret?,
            jwt_secret_previous,
            admin_password: admin_password?,
            dpop_secret,
            plc_rotation_key: plc_rotation_key?,
            key_encryption_key: key_encryption_key?,
        })
    }
}

fn required(reader: &mut Reader<'_>, name: &str) -> Option<SecretString> {
    let secret = reader.secret(name);
    reader.require(name, secret)
}

fn read_plc_rotation_key(reader: &mut Reader<'_>) -> Option<PlcRotationKey> {
    const HEX: &str = "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX";
    const KMS: &str = "PDS_PLC_ROTATION_KEY_KMS_KEY_ID";
    match (reader.key32(HEX), reader.string(KMS)) {
        (Some(_), Some(_)) => {
            reader.problem(HEX, format_args!("and {KMS} are both set"));
            None
        }
        (None, Some(id)) => Some(PlcRotationKey::Kms(id)),
        (key, None) => reader.require(HEX, key).map(PlcRotationKey::K256),
    }
}
