//! The end of an import: the archive's tree under a commit of our own, made the repo's head in one statement.

use std::time::Duration;

use atproto::commit::UnsignedCommit;
use atproto::data::Cid;
use atproto::event::SyncEvent;
use atproto::syntax::{Datetime, Did, Tid};
use bytes::Bytes;
use tracing::warn;

use super::Import;
use super::error::ImportError;
use super::store::{self, Outcome};
use super::tree::Checked;
use crate::db;
use crate::repo::race::pause;
use crate::repo::store::{Head, find_head};
use crate::repo::write::CommitRef;

/// Tries of the last statement. Each costs little until it is the last: heads are compared before rows are moved.
const ATTEMPTS: u32 = 40;
/// Tries of one call whose connection broke.
const CALLS: usize = 3;
/// How long the last statement may take: some 25 µs a row. Longer than the pool's connections allow.
const PATIENCE: Duration = Duration::from_mins(5);
/// How far ahead of our clock a foreign rev may be to be outdone.
const SKEW_MICROS: u64 = 5 * 60 * 1_000_000;

/// A repo's new head, signed.
pub(super) struct SignedRepo {
    /// The head it replaces.
    pub(super) expected: Cid,
    pub(super) head: Head,
    pub(super) commit_block: Bytes,
    /// Body of the `#sync` that announces it.
    pub(super) event: Vec<u8>,
}

impl Import {
    /// Makes what was loaded the account's repo.
    ///
    /// The import replaces the repo as it is in this moment: a write that came while the archive was on its way is
    /// replaced, too, and one that comes in the middle of this only means signing again with a newer rev.
    pub(super) async fn finish(&self, checked: &Checked) -> Result<CommitRef, ImportError> {
        let Self { repos, claim, did, .. } = self;
        // Nobody else may take the claim over while the statement runs.
        self.renew(PATIENCE * 2).await?;
        for attempt in 1..=ATTEMPTS {
            let head = find_head(&mut *repos.pool.acquire().await?, claim.account).await?;
            let signed = self.sign(did, head.ok_or(ImportError::RepoNotFound)?, checked).await?;
            let outcome = self.call(checked, &signed).await;
            // Unless the import stands, what is known of the head is worth nothing.
            repos.heads.forget(claim.account);
            match outcome? {
                Outcome::Applied | Outcome::AppliedBefore => {
                    repos.heads.insert(claim.account, signed.head);
                    return Ok(CommitRef { cid: signed.head.cid, rev: signed.head.rev });
                }
                Outcome::HeadMoved => pause(attempt).await,
                Outcome::NoRepo => return Err(ImportError::RepoNotFound),
                Outcome::Takendown => return Err(ImportError::Takendown),
                Outcome::Superseded | Outcome::Incomplete => return Err(ImportError::Superseded),
            }
        }
        Err(ImportError::Contended)
    }

    async fn sign(&self, did: &Did, old: Head, checked: &Checked) -> Result<SignedRepo, ImportError> {
        let repos = &self.repos;
        let key = repos.keys.find_signing_key(self.claim.account, did).await?.ok_or(ImportError::RepoNotFound)?;
        let now = repos.now_micros();
        let rev = repos.next_rev(newest(old.rev, checked.rev, now));
        let commit = UnsignedCommit { did: did.clone(), rev, data: checked.root }.sign(&key);
        let (cid, commit_block) = commit.to_block();
        let event = SyncEvent::new(&commit, Datetime::from_unix_millis(now / 1000)).encode();
        let head = Head { cid, rev, root: checked.root };
        Ok(SignedRepo { expected: old.cid, head, commit_block, event })
    }

    /// Calls the function, again if the connection broke: it recognises a repo that it put in place before.
    async fn call(&self, checked: &Checked, signed: &SignedRepo) -> Result<Outcome, ImportError> {
        let mut sent_before = false;
        for _ in 0..CALLS {
            let mut conn = match db::connect_patient(&self.repos.pool, PATIENCE).await {
                Ok(conn) => conn,
                Err(_) if sent_before => return Err(ImportError::Unknown),
                Err(error) => return Err(error.into()),
            };
            let outcome = store::finish(&mut conn, self.claim, checked, signed).await;
            // How closing goes does not matter: the answer is here, or the connection is broken.
            let _ = sqlx::Connection::close(conn).await;
            match outcome {
                Ok(outcome @ (Outcome::Applied | Outcome::AppliedBefore)) => return Ok(outcome),
                // The first try may have been applied, and the repo changed again since.
                Ok(_) if sent_before => return Err(ImportError::Unknown),
                Ok(outcome) => return Ok(outcome),
                Err(error @ sqlx::Error::Database(_)) if !db::is_outage(&error) => return Err(error.into()),
                Err(error) => {
                    warn!(%error, "connection lost at the end of an import; asking again");
                    sent_before = true;
                }
            }
        }
        Err(ImportError::Unknown)
    }
}

/// The rev to outdo: that of the repo here, and of the archive, since its readers have seen that elsewhere. One from the
/// future they have refused, and it would leave no room for ours.
fn newest(here: Tid, archive: Tid, now_micros: u64) -> Tid {
    if archive.to_micros() > now_micros + SKEW_MICROS { here } else { here.max(archive) }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::clock::Clock;
    use crate::db::PgPool;
    use crate::keys::Keys;
    use crate::repo::Repos;
    use crate::repo::import::store::{Claim, delete_claim, insert_chunk, insert_claim};
    use crate::repo::import::tree::Chunk;
    use crate::testing::seed::{self, SeededRepo};
    use crate::testing::{RepoArchive, TestDb, assert_repo_is_sound, assert_stream_is_sound};

    const LEASE: Duration = Duration::from_mins(1);

    /// An import of an empty repo that is loaded and not finished.
    async fn loaded(pool: &PgPool, repo: &SeededRepo) -> (Import, Checked) {
        let conn = &mut pool.acquire().await.unwrap();
        let archive = RepoArchive::new(&repo.did, []);
        let chunk = Chunk { nodes: archive.nodes, ..Chunk::default() };
        let claim: Claim = insert_claim(conn, repo.account, LEASE).await.unwrap().unwrap();
        assert!(insert_chunk(conn, claim, &chunk, LEASE).await.unwrap());
        let repos = Repos::new(pool.clone(), Keys::new(pool.clone(), seed::vault()), Clock::system());
        let checked = Checked { rev: archive.commit.rev, root: archive.commit.data, records: 0, nodes: 1 };
        (Import { repos, claim, did: repo.did.clone(), max_bytes: 0 }, checked)
    }

    async fn head(pool: &PgPool, repo: &SeededRepo) -> Head {
        find_head(&mut pool.acquire().await.unwrap(), repo.account).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_finish_whose_answer_was_lost_recognises_itself() {
        let db = TestDb::create().await;
        let (pool, repo) = (db.pool(), seed::repo(&db.pool(), "alice.test").await);
        let (import, checked) = loaded(&pool, &repo).await;
        let signed = import.sign(&repo.did, head(&pool, &repo).await, &checked).await.unwrap();
        assert_eq!(import.call(&checked, &signed).await.unwrap(), Outcome::Applied);
        assert_eq!(import.call(&checked, &signed).await.unwrap(), Outcome::AppliedBefore);
        assert_repo_is_sound(&pool, repo.account).await;
        let events = assert_stream_is_sound(&pool).await;
        assert_eq!(events.len(), 3, "a commit and a sync of the sign-up, one sync of the import");
    }

    #[tokio::test]
    async fn a_finish_that_comes_to_nothing_changes_nothing() {
        let db = TestDb::create().await;
        let (pool, repo) = (db.pool(), seed::repo(&db.pool(), "alice.test").await);
        let (import, checked) = loaded(&pool, &repo).await;
        let before = head(&pool, &repo).await;
        let signed = import.sign(&repo.did, before, &checked).await.unwrap();
        let call = async |checked: &Checked, signed: &SignedRepo| import.call(checked, signed).await.unwrap();

        let incomplete = Checked { records: 1, ..checked };
        assert_eq!(call(&incomplete, &signed).await, Outcome::Incomplete);
        let moved = SignedRepo { expected: Cid::raw(b""), ..import.sign(&repo.did, before, &checked).await.unwrap() };
        assert_eq!(call(&checked, &moved).await, Outcome::HeadMoved);
        seed::set_taken_down(&pool, repo.did.as_str(), true).await;
        assert_eq!(call(&checked, &signed).await, Outcome::Takendown);
        seed::set_taken_down(&pool, repo.did.as_str(), false).await;
        delete_claim(&mut pool.acquire().await.unwrap(), import.claim).await.unwrap();
        assert_eq!(call(&checked, &signed).await, Outcome::Superseded);
        assert_eq!(head(&pool, &repo).await, before);
        seed::delete_account(&pool, repo.did.as_str()).await;
        assert_eq!(call(&checked, &signed).await, Outcome::NoRepo);
    }

    #[test]
    fn revs_from_the_future_do_not_count() {
        let tid = |micros| Tid::from_micros(micros, 0);
        let now = 1_800_000_000_000_000;
        for (here, archive, expected) in
            [(now, now - 1, now), (now, now + 1, now + 1), (now, now + SKEW_MICROS + 1, now), (now, 1 << 52, now)]
        {
            assert_eq!(newest(tid(here), tid(archive), now), tid(expected));
        }
    }
}
