//! The head of a repo: does the signed commit say what the row says?

use atproto::commit::Commit;
use atproto::crypto::PublicKey;
use atproto::data::Cid;
use atproto::syntax::{Did, Tid};

use super::store::HeadRow;
use super::{Finding, Findings};

/// What can be relied on.
pub(super) struct Head {
    /// Root of the tree: the commit's own word, or the row's if the commit is damaged.
    pub(super) root: Option<Cid>,
}

pub(super) fn check(row: &HeadRow, did: &Did, findings: &mut Findings) -> Head {
    let stored_root = Cid::from_bytes(&row.root).ok();
    let head = Cid::from_bytes(&row.head).ok();
    for (column, is_sound) in
        [("head", head.is_some()), ("rev", row.rev.parse::<Tid>().is_ok()), ("root", stored_root.is_some())]
    {
        if !is_sound {
            findings.push(Finding::HeadColumn { column });
        }
    }
    let altered = head.filter(|head| !head.verifies(&row.commit_block));
    if let Some(head) = altered {
        findings.push(Finding::CommitHash { head: head.to_string() });
    }
    let commit = match Commit::decode(&row.commit_block) {
        Ok(commit) => commit,
        Err(error) => {
            findings.push(Finding::CommitMalformed { reason: error.to_string() });
            return Head { root: stored_root };
        }
    };
    check_commit(&commit, row, did, findings);
    if let Some(stored) = stored_root.filter(|stored| *stored != commit.data) {
        findings.push(Finding::CommitRoot { commit: commit.data.to_string(), stored: stored.to_string() });
    }
    Head { root: if altered.is_some() { stored_root } else { Some(commit.data) } }
}

fn check_commit(commit: &Commit, row: &HeadRow, did: &Did, findings: &mut Findings) {
    if commit.did != *did {
        findings.push(Finding::CommitDid { found: commit.did.to_string() });
    }
    if commit.rev.to_string() != row.rev {
        findings.push(Finding::CommitRev { commit: commit.rev.to_string(), stored: row.rev.clone() });
    }
    match row.public_key.as_deref().and_then(|key| key.parse::<PublicKey>().ok()) {
        None => findings.push(Finding::SigningKey),
        Some(key) if commit.verify(&key).is_err() => findings.push(Finding::Signature),
        Some(_) => {}
    }
}
