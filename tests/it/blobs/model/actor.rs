//! Somebody who uses accounts, and knows what must come of it.

use std::sync::Arc;

use atproto::data::Cid;
use atproto::syntax::Did;
use common::audit;
use common::blob::{ObjectId, UploadError};
use common::repo::{PreparedWrite, WriteError};
use common::testing::seed::{self, SeededRepo};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::cut::Cut;
use super::ledger::{self, Ledger, MEDIA_TYPE, PICTURES, Picture};
use super::stage::{Replica, Stage};

/// Accounts of one actor.
const ACCOUNTS: usize = 2;
/// After so many steps at most an upload that is cut off is.
const STEPS: u32 = 25;

pub(super) struct Actor {
    stage: Arc<Stage>,
    random: StdRng,
    accounts: Vec<Account>,
}

struct Account {
    name: String,
    repo: SeededRepo,
    ledger: Ledger,
}

/// How an upload ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upload {
    Done,
    Not,
}

impl Actor {
    pub(super) async fn enter(stage: &Arc<Stage>, number: usize, seed: u64) -> Self {
        let mut accounts = Vec::new();
        for place in 0..ACCOUNTS {
            // DIDs of tests have letters only.
            let letter = |number: usize| char::from(b'b' + u8::try_from(number).unwrap());
            let name = format!("{}{}.test", letter(number), letter(place));
            let repo = seed::repo(&stage.db.pool(), &name).await;
            accounts.push(Account { name, repo, ledger: Ledger::default() });
        }
        let stage = Arc::clone(stage);
        Self { stage, random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)), accounts }
    }

    /// Does so many things.
    pub(super) async fn act(mut self, count: usize) -> Self {
        for account in &mut self.accounts {
            account.ledger.fresh.clear();
        }
        for _ in 0..count {
            let account = self.random.random_range(0..ACCOUNTS);
            match self.random.random_range(0..100) {
                0..22 => self.upload(account).await,
                22..25 => self.begin_upload(account).await,
                25..50 => self.show(account).await,
                50..65 => self.delete(account).await,
                65..80 => self.look(account).await,
                80..86 => self.moderate(account).await,
                86..92 => self.show_while_uploading(account).await,
                92..98 => self.show_while_deleting(account).await,
                98 => self.show_and_delete(account).await,
                _ => self.leave_and_return(account).await,
            }
        }
        self
    }

    /// Gives up most of what is there. Gives what must stay.
    pub(super) async fn leave(mut self) -> Vec<(Did, Cid)> {
        for account in 0..ACCOUNTS {
            for picture in std::mem::take(&mut self.accounts[account].ledger.hidden) {
                self.mark(account, picture, None).await;
            }
        }
        // One account keeps its records, the other does not; some are deleted.
        let rkeys: Vec<String> = self.accounts[1].ledger.records.keys().cloned().collect();
        for rkey in rkeys {
            self.write(1, ledger::delete(&rkey), &[]).await.unwrap();
            self.accounts[1].ledger.records.remove(&rkey);
        }
        if self.random.random_ratio(1, 4) {
            self.delete_account(1).await;
        }
        let Account { repo, ledger, .. } = &self.accounts[0];
        for picture in ledger.readable() {
            assert!(self.is_whole(0, picture).await, "{repo:?} lost picture {picture}");
        }
        ledger.readable().map(|picture| (repo.did.clone(), ledger::cid(picture))).collect()
    }

    fn picture(&mut self) -> Picture {
        self.random.random_range(0..PICTURES)
    }

    /// One replica or the other.
    fn replica(&mut self) -> Arc<Replica> {
        Arc::clone(&self.stage.replicas[self.random.random_range(0..2)])
    }

    /// A record of an account.
    fn record(&mut self, account: usize) -> Option<String> {
        let records = &self.accounts[account].ledger.records;
        let place = self.random.random_range(0..records.len().max(1));
        records.keys().nth(place).cloned()
    }

    async fn upload(&mut self, account: usize) {
        let (picture, replica) = (self.picture(), self.replica());
        let outcome = self.upload_at(&replica, account, picture).await;
        self.note_upload(account, picture, outcome);
    }

    fn note_upload(&mut self, account: usize, picture: Picture, outcome: Upload) {
        if outcome == Upload::Done {
            self.accounts[account].ledger.fresh.insert(picture);
        }
    }

    async fn upload_at(&self, replica: &Replica, account: usize, picture: Picture) -> Upload {
        let Account { repo, ledger, .. } = &self.accounts[account];
        let mut spool = replica.blobs.spool();
        spool.push(&ledger::bytes(picture)).await.unwrap();
        let content = spool.finish().await.unwrap();
        let (tally, is_hidden) = (&self.stage.tally, ledger.hidden.contains(&picture));
        match replica.blobs.upload(repo.account, &repo.did, content, MEDIA_TYPE).await {
            Ok(_) => {
                assert!(!is_hidden, "picture {picture} is taken down");
                tally.uploads.increment();
                return Upload::Done;
            }
            Err(UploadError::Takendown) => {
                assert!(is_hidden, "picture {picture} is not taken down");
                tally.hidden_uploads.increment();
            }
            Err(UploadError::BeingDeleted) => {
                assert!(!ledger.is_shown(picture), "picture {picture} is being deleted");
                tally.barred_uploads.increment();
            }
            Err(UploadError::Store(_)) => tally.failed_uploads.increment(),
            Err(error) => panic!("{error:?}"),
        }
        Upload::Not
    }

    /// The replica dies in the middle of it.
    async fn begin_upload(&mut self, account: usize) {
        let (picture, replica, steps) = (self.picture(), self.replica(), self.random.random_range(1..STEPS));
        match Cut::after(steps, self.upload_at(&replica, account, picture)).await {
            Some(outcome) => self.note_upload(account, picture, outcome),
            None => self.stage.tally.cut_uploads.increment(),
        }
    }

    /// Writes a new record or an old one.
    async fn show(&mut self, account: usize) {
        let rkey = if self.random.random_ratio(1, 3) { self.record(account) } else { None };
        let rkey = rkey.unwrap_or_else(|| self.accounts[account].ledger.new_key());
        let mut pictures = vec![self.picture()];
        if self.random.random_ratio(1, 3) {
            pictures.push(self.picture());
        }
        let write = ledger::show(&rkey, &pictures);
        if self.write(account, write, &pictures).await.is_ok() {
            self.accounts[account].ledger.records.insert(rkey, pictures);
        }
    }

    async fn delete(&mut self, account: usize) {
        let Some(rkey) = self.record(account) else { return };
        self.write(account, ledger::delete(&rkey), &[]).await.unwrap();
        self.accounts[account].ledger.records.remove(&rkey);
        self.stage.tally.deletions.increment();
    }

    async fn write(&mut self, account: usize, write: PreparedWrite, pictures: &[Picture]) -> Result<(), ()> {
        let replica = self.replica();
        self.write_at(&replica, account, write, pictures).await
    }

    /// Err if a picture was not there, and need not be.
    async fn write_at(
        &self,
        replica: &Replica,
        account: usize,
        write: PreparedWrite,
        pictures: &[Picture],
    ) -> Result<(), ()> {
        let Account { repo, ledger, .. } = &self.accounts[account];
        match replica.repos.apply_writes(repo.account, &repo.did, vec![write], None).await {
            Ok(commit) => {
                // What is there already is not written again.
                assert!(commit.is_none() || !ledger.must_be_refused(pictures), "{pictures:?}: {ledger:?}");
                self.stage.tally.writes.increment();
                Ok(())
            }
            Err(WriteError::BlobNotFound(cid)) => {
                assert!(!ledger.must_be_taken(pictures), "{repo:?} lost {cid}: {pictures:?}: {ledger:?}");
                self.stage.tally.refused_writes.increment();
                Err(())
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Reads what must be there, and what must not be shown.
    async fn look(&mut self, account: usize) {
        let picture = self.picture();
        let is_readable = self.accounts[account].ledger.is_readable(picture);
        let is_whole = self.is_whole(account, picture).await;
        let Account { repo, ledger, .. } = &self.accounts[account];
        assert_eq!(is_whole, is_readable, "{repo:?} has lost or shows picture {picture}: {ledger:?}");
        let tally = &self.stage.tally;
        if is_whole { tally.reads.increment() } else { tally.refused_reads.increment() }
    }

    /// # Panics
    /// If a picture that everybody may read is not there, or not whole.
    async fn is_whole(&self, account: usize, picture: Picture) -> bool {
        let repo = &self.accounts[account].repo;
        let id = ObjectId { did: &repo.did, cid: ledger::cid(picture) };
        for replica in &self.stage.replicas {
            if replica.blobs.find_readable(repo.account, id.cid).await.unwrap().is_none() {
                return false;
            }
            let found = replica.read(id).await;
            assert!(found == Some(ledger::bytes(picture)), "{repo:?} lost picture {picture}");
        }
        true
    }

    async fn moderate(&mut self, account: usize) {
        let picture = self.picture();
        let is_hidden = self.accounts[account].ledger.hidden.contains(&picture);
        let is_there = self.mark(account, picture, (!is_hidden).then_some("a reason")).await;
        let (Account { ledger, .. }, tally) = (&mut self.accounts[account], &self.stage.tally);
        if is_hidden {
            assert!(is_there, "what is taken down stays");
            ledger.hidden.remove(&picture);
            // It begins a new time.
            ledger.fresh.insert(picture);
            tally.reversals.increment();
        } else if is_there {
            ledger.hidden.insert(picture);
            tally.takedowns.increment();
        }
    }

    async fn mark(&mut self, account: usize, picture: Picture, reference: Option<&str>) -> bool {
        let replica = self.replica();
        let did = &self.accounts[account].repo.did;
        replica.blobs.mark(&audit::Actor::Admin, did, ledger::cid(picture), reference).await.unwrap()
    }

    /// The record may come before the picture.
    async fn show_while_uploading(&mut self, account: usize) {
        let (picture, here, there) = (self.picture(), self.replica(), self.replica());
        let rkey = self.accounts[account].ledger.new_key();
        let (write, pictures) = (ledger::show(&rkey, &[picture]), [picture]);
        let (uploaded, written) =
            tokio::join!(self.upload_at(&here, account, picture), self.write_at(&there, account, write, &pictures));
        self.note_upload(account, picture, uploaded);
        if written.is_ok() {
            self.accounts[account].ledger.records.insert(rkey, vec![picture]);
        }
        self.stage.tally.races.increment();
    }

    /// One record takes up what the other lets go.
    async fn show_while_deleting(&mut self, account: usize) {
        let Some(old) = self.record(account) else { return };
        let pictures = self.accounts[account].ledger.records[&old].clone();
        let (new, here, there) = (self.accounts[account].ledger.new_key(), self.replica(), self.replica());
        let (deletion, write) = (ledger::delete(&old), ledger::show(&new, &pictures));
        let (deleted, written) = tokio::join!(
            self.write_at(&here, account, deletion, &[]),
            self.write_at(&there, account, write, &pictures)
        );
        deleted.unwrap();
        let ledger = &mut self.accounts[account].ledger;
        ledger.records.remove(&old);
        if written.is_ok() {
            ledger.records.insert(new, pictures);
        }
        self.stage.tally.races.increment();
    }

    /// Two commits of one chain: the record is never stored.
    async fn show_and_delete(&mut self, account: usize) {
        let (picture, replica) = (self.picture(), self.replica());
        let rkey = self.accounts[account].ledger.new_key();
        let (write, deletion) = (ledger::show(&rkey, &[picture]), ledger::remove(&rkey));
        let pictures = [picture];
        let (written, removed) = tokio::join!(
            self.write_at(&replica, account, write, &pictures),
            self.write_at(&replica, account, deletion, &[])
        );
        removed.unwrap();
        let Account { repo, ledger, .. } = &mut self.accounts[account];
        let path = ledger::path(&rkey);
        let found = replica.repos.find_record(repo.account, &path.collection, &path.rkey).await.unwrap();
        if found.is_some() {
            assert!(written.is_ok());
            ledger.records.insert(rkey, vec![picture]);
        }
        self.stage.tally.races.increment();
    }

    /// Another account with the same DID has none of what the first one had.
    async fn leave_and_return(&mut self, account: usize) {
        self.delete_account(account).await;
        let Account { name, repo, ledger } = &mut self.accounts[account];
        *repo = seed::repo(&self.stage.db.pool(), name).await;
        *ledger = Ledger::default();
        self.stage.tally.returns.increment();
    }

    async fn delete_account(&mut self, account: usize) {
        let replica = self.replica();
        assert!(replica.lifecycle.delete(&self.accounts[account].repo.did, None).await.unwrap());
    }
}
