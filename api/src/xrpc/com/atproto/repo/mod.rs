//! `com.atproto.repo.*`: reading and writing records, and taking in blobs for them.
//!
//! Reference: it refuses record keys with offensive words in them. This server has no such list, for handles neither.

pub mod apply_writes;
pub mod create_record;
pub mod delete_record;
pub mod describe_repo;
pub mod get_record;
pub mod import_repo;
pub mod list_missing_blobs;
pub mod list_records;
pub mod put_record;
pub mod upload_blob;

use atproto::data::Cid;
use atproto::syntax::{AtIdentifier, AtUri, Did, Tid};
use common::account::{AccountStatus, Accounts, Principal};
use common::repo::{
    BlobDiffers, CommitError, CommitRef, PreparedRecord, RecordError, RecordPath, Refusal, ValidationStatus, WriteError,
};
use serde::Serialize;

use crate::auth::{AccessAuth, account_deactivated, account_not_found, account_taken_down};
use crate::xrpc::{Routes, XrpcError};

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(apply_writes::METHOD, apply_writes::handle);
    routes.add(create_record::METHOD, create_record::handle);
    routes.add(delete_record::METHOD, delete_record::handle);
    routes.add(describe_repo::METHOD, describe_repo::handle);
    routes.add(get_record::METHOD, get_record::handle);
    routes.add(import_repo::METHOD, import_repo::handle);
    routes.add(list_missing_blobs::METHOD, list_missing_blobs::handle);
    routes.add(list_records::METHOD, list_records::handle);
    routes.add(put_record::METHOD, put_record::handle);
    routes.add(upload_blob::METHOD, upload_blob::handle);
}

/// `com.atproto.repo.defs#commitMeta`.
#[derive(Serialize)]
pub struct CommitMeta {
    cid: Cid,
    rev: Tid,
}

impl From<CommitRef> for CommitMeta {
    fn from(commit: CommitRef) -> Self {
        Self { cid: commit.cid, rev: commit.rev }
    }
}

/// A record as it was written: what createRecord and putRecord answer, and one result of applyWrites.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    uri: AtUri,
    cid: Cid,
    /// Absent if the record was there already, and from a result of applyWrites.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitMeta>,
    /// Absent if the caller asked for no check.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_status: Option<&'static str>,
}

impl Written {
    fn new(did: &Did, path: &RecordPath, record: &PreparedRecord) -> Self {
        Self {
            uri: AtUri::record(did, &path.collection, &path.rkey),
            cid: record.cid,
            commit: None,
            validation_status: record.validation.map(ValidationStatus::as_str),
        }
    }

    fn in_commit(self, commit: Option<CommitRef>) -> Self {
        Self { commit: commit.map(CommitMeta::from), ..self }
    }
}

/// The caller's account, if `repo` names it and it may write.
///
/// Reference: it is the named account whose state is looked at first, also if it is not the caller's.
async fn own_repo(accounts: &Accounts, auth: &AccessAuth, repo: &AtIdentifier) -> Result<Principal, XrpcError> {
    let account = named(accounts, repo).await?;
    let account = account.ok_or_else(account_not_found)?;
    match account.status {
        AccountStatus::Takendown => Err(account_taken_down()),
        AccountStatus::Deactivated => Err(account_deactivated()),
        AccountStatus::Active if account.did != *auth.did() => Err(XrpcError::auth_required("Authentication Required")),
        AccountStatus::Active => Ok(account),
    }
}

/// The account that `repo` names, in a state of some seconds ago if it was active then.
async fn named(accounts: &Accounts, repo: &AtIdentifier) -> Result<Option<Principal>, XrpcError> {
    let account = match repo {
        AtIdentifier::Did(did) => accounts.find_principal(did).await,
        AtIdentifier::Handle(handle) => accounts.find_by_handle(handle).await.map(|found| found.map(Principal::from)),
    };
    account.map_err(XrpcError::internal)
}

/// The account that `repo` names, if everybody may read its records.
///
/// It may have been closed a moment ago: what is read of it looks at that again, and gives nothing. [`still_open`] tells
/// this from there being nothing.
async fn open_repo(accounts: &Accounts, repo: &AtIdentifier) -> Result<Option<Principal>, XrpcError> {
    Ok(named(accounts, repo).await?.filter(|account| account.status.is_active()))
}

/// Whether an account of which there was nothing to read is active now.
async fn still_open(accounts: &Accounts, account: &Principal) -> Result<bool, XrpcError> {
    let account = accounts.find_principal_now(&account.did).await.map_err(XrpcError::internal)?;
    Ok(account.is_some_and(|account| account.status.is_active()))
}

impl From<RecordError> for XrpcError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::NotAnObject
            | RecordError::WrongType { .. }
            | RecordError::UnknownLexicon(_)
            | RecordError::Invalid(_)
            | RecordError::LegacyBlob
            | RecordError::Encoding(_) => Self::invalid_request(error),
        }
    }
}

impl From<WriteError> for XrpcError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::RepoNotFound => Self::invalid_request(error),
            WriteError::Deactivated => account_deactivated(),
            WriteError::Takendown => account_taken_down(),
            WriteError::BlobNotFound(_) => Self::bad_request("BlobNotFound", error),
            WriteError::BlobDiffers(BlobDiffers::MimeType { .. }) => Self::bad_request("InvalidMimeType", error),
            WriteError::BlobDiffers(BlobDiffers::Size { .. }) => Self::bad_request("InvalidSize", error),
            WriteError::Refused(refusal) => refusal.into(),
            WriteError::Contended | WriteError::Commit(CommitError::Unavailable | CommitError::Unknown) => {
                Self::unavailable(error)
            }
            WriteError::Commit(CommitError::Refused(_))
            | WriteError::Key(_)
            | WriteError::Damaged(_)
            | WriteError::Storage(_) => Self::internal(error),
        }
    }
}

impl From<Refusal> for XrpcError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CommitSwap(_) | Refusal::RecordSwap(_) => Self::bad_request("InvalidSwap", refusal),
            // Reference: a create of what exists, and an update or delete of what does not, is a 500 there.
            Refusal::Exists(_) | Refusal::Missing(_) | Refusal::TooManyWrites | Refusal::TooBig => {
                Self::invalid_request(refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_failed_has_its_answer() {
        let cid = Cid::raw(b"");
        for (error, status, name, message) in [
            (WriteError::RepoNotFound, 400, "InvalidRequest", "Could not find repo"),
            (WriteError::Deactivated, 401, "AccountDeactivated", "Account is deactivated"),
            (WriteError::Takendown, 401, "AccountTakedown", "Account has been taken down"),
            (WriteError::BlobNotFound(cid), 400, "BlobNotFound", &format!("Could not find blob: {cid}")),
            (Refusal::RecordSwap(None).into(), 400, "InvalidSwap", "Record was at null"),
            (Refusal::CommitSwap(cid).into(), 400, "InvalidSwap", &format!("Commit was at {cid}")),
            (Refusal::TooManyWrites.into(), 400, "InvalidRequest", "Too many writes. Max: 200"),
            (Refusal::TooBig.into(), 400, "InvalidRequest", "Too many writes. Max event size: 2MB"),
            (WriteError::Contended, 503, "NotEnoughResources", "Service Unavailable"),
            (CommitError::Unavailable.into(), 503, "NotEnoughResources", "Service Unavailable"),
            (CommitError::Unknown.into(), 503, "NotEnoughResources", "Service Unavailable"),
            (CommitError::Refused(String::new()).into(), 500, "InternalServerError", "Internal Server Error"),
            (WriteError::Damaged(String::new()), 500, "InternalServerError", "Internal Server Error"),
        ] {
            let error = XrpcError::from(error);
            assert_eq!((error.status.as_u16(), &*error.name, &*error.message), (status, name, message));
        }
    }
}
