//! What is stored of a password, and comparing with it.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use atproto::syntax::Did;
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::PasswordError;

/// Of the reference server's hashes: the binary logarithm of N, then r and p.
const SCRYPT_COST: (u8, u32, u32) = (14, 8, 1);
/// Hexadecimal digits of their salt. The digits themselves are the salt, not the bytes they stand for.
const SCRYPT_SALT_DIGITS: usize = 32;
/// Bytes of their output.
const SCRYPT_OUTPUT: usize = 64;

/// A stored password: a PHC string, which names its own algorithm and parameters, or `<salt>:<hash>` as the reference
/// server stores it (scrypt).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// The text is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored password hash is damaged")]
pub struct PasswordHashError;

impl PasswordHash {
    /// Hashes a password under a random salt, with Argon2id and the parameters of this release.
    pub(super) fn new(password: &SecretString) -> Result<Self, PasswordError> {
        let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
        Ok(Self(hash.map_err(PasswordError::Hash)?.to_string().into()))
    }

    /// What the reference server stores of an app password. The salt follows from the DID, so that it can look for a text.
    pub(super) fn of_app_password(did: &Did, password: &SecretString) -> Result<Self, PasswordError> {
        let salt = HEXLOWER.encode(&Sha256::digest(did.as_str())[..SCRYPT_SALT_DIGITS / 2]);
        let output = scrypt_output(password.expose_secret().as_bytes(), &salt)?;
        Ok(Self(format!("{salt}:{}", HEXLOWER.encode(output.as_slice())).into()))
    }

    /// A hash that no password has (its output is all zeros), with the parameters of new ones: comparing takes as long.
    pub(super) fn decoy() -> Self {
        let (memory, passes, lanes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
        let (salt, output) = ("A".repeat(22), "A".repeat(43));
        Self(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}").into())
    }

    /// The text, for the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if `password` is the one behind it.
    pub(super) fn fits(&self, password: &SecretString) -> Result<bool, PasswordError> {
        let password = password.expose_secret().as_bytes();
        if let Some((salt, output)) = scrypt_parts(&self.0) {
            return fits_scrypt(password, salt, &output);
        }
        match Argon2::default().verify_password(password, &self.phc()?) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(PasswordError::Hash(error)),
        }
    }

    /// True if a new hash of the same password would be of another algorithm or have other parameters.
    pub(super) fn is_outdated(&self) -> bool {
        let Ok(phc) = self.phc() else { return true };
        let is_current = phc.algorithm == Algorithm::default().ident()
            && phc.version == Some(Version::default().into())
            && Params::try_from(&phc).is_ok_and(|params| {
                (params.m_cost(), params.t_cost(), params.p_cost())
                    == (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST)
            });
        !is_current
    }

    fn phc(&self) -> Result<phc::PasswordHash, PasswordError> {
        phc::PasswordHash::new(&self.0).map_err(|error| PasswordError::Hash(error.into()))
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        if scrypt_parts(text).is_none() {
            phc::PasswordHash::new(text).map_err(|_| PasswordHashError)?;
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Salt and output of a hash of the reference server's.
fn scrypt_parts(text: &str) -> Option<(&str, [u8; SCRYPT_OUTPUT])> {
    let (salt, output) = text.split_once(':')?;
    let is_salt = salt.len() == SCRYPT_SALT_DIGITS && HEXLOWER.decode(salt.as_bytes()).is_ok();
    let output = HEXLOWER.decode(output.as_bytes()).ok()?.try_into().ok()?;
    is_salt.then_some((salt, output))
}

fn fits_scrypt(password: &[u8], salt: &str, expected: &[u8]) -> Result<bool, PasswordError> {
    Ok(scrypt_output(password, salt)?.ct_eq(expected).into())
}

fn scrypt_output(password: &[u8], salt: &str) -> Result<Zeroizing<[u8; SCRYPT_OUTPUT]>, PasswordError> {
    let (log_n, r, p) = SCRYPT_COST;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| PasswordError::Hash(password_hash::Error::Internal))?;
    let mut output = Zeroizing::new([0; SCRYPT_OUTPUT]);
    scrypt::scrypt(password, salt.as_bytes(), &params, output.as_mut_slice())
        .map_err(|_| PasswordError::Hash(password_hash::Error::OutputSize))?;
    Ok(output)
}

/// Hashes of a password that are not what a new one would be: of the reference server's kind for `correct horse`, and one
/// with weak parameters.
#[cfg(test)]
pub(in crate::account) fn outdated() -> [PasswordHash; 2] {
    let params = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, Params::MIN_P_COST, None).unwrap();
    let weak = Argon2::from(params).hash_password(b"correct horse").unwrap();
    [tests::REFERENCE.parse().unwrap(), PasswordHash(weak.to_string().into())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Node's `scryptSync("correct horse", salt, 64)` gives it.
    pub(super) const REFERENCE: &str = "000102030405060708090a0b0c0d0e0f:\
        5840f2841249294a51f654db7224551cfcf1600bc79b5f32f5e2dd856ce221fc\
        4f1ff6dad64b9fab6d4fb8f13bdd8bea4db17fbf92c730afd5eaee0cc42249af";

    #[test]
    fn only_the_right_password_fits() {
        let [reference, weak] = outdated();
        for hash in [PasswordHash::new(&"correct horse".into()).unwrap(), reference, weak] {
            assert!(hash.fits(&"correct horse".into()).unwrap());
            for wrong in ["correct horse ", "Correct horse", ""] {
                assert!(!hash.fits(&wrong.into()).unwrap(), "{wrong}");
            }
        }
    }

    #[test]
    fn salts_are_random() {
        assert_ne!(PasswordHash::new(&"x".into()).unwrap(), PasswordHash::new(&"x".into()).unwrap());
    }

    #[test]
    fn a_hash_of_an_older_kind_is_known_for_one() {
        assert!(outdated().iter().all(PasswordHash::is_outdated));
        assert!(!PasswordHash::new(&"x".into()).unwrap().is_outdated());
        assert!(!PasswordHash::decoy().is_outdated(), "else it would cost less or more than a new hash");
    }

    #[test]
    fn the_decoy_fits_nobody() {
        assert!(!PasswordHash::decoy().fits(&"".into()).unwrap());
    }

    #[test]
    fn an_unknown_algorithm_is_an_error_and_not_a_wrong_password() {
        let hash: PasswordHash = "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA".parse().unwrap();
        let error = hash.fits(&"x".into()).unwrap_err();
        assert!(matches!(error, PasswordError::Hash(_)), "{error}");
    }

    #[test]
    fn damaged_hashes_are_not_read() {
        let short_salt = &REFERENCE[1..];
        let short_output = &REFERENCE[..REFERENCE.len() - 2];
        let upper = REFERENCE.to_ascii_uppercase();
        for text in ["", "plain", ":", short_salt, short_output, &upper] {
            assert_eq!(text.parse::<PasswordHash>(), Err(PasswordHashError), "{text}");
        }
    }
}
