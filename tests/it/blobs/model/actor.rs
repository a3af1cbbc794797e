//! Somebody who uses accounts, and knows what must come of it.

mod import;
mod race;
mod upload;

use std::sync::Arc;

use atproto::data::Cid;
use atproto::syntax::Did;
use common::audit;
use common::blob::ObjectId;
use common::config::BlobQuota;
use common::repo::{PreparedWrite, WriteError};
use common::testing::seed::{self, SeededRepo};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::ledger::{self, Ledger, PICTURES, Picture};
use super::stage::{Replica, Stage};

/// Accounts of one actor.
const ACCOUNTS: usize = 2;
/// What the second account of an actor may have: of all pictures some half.
const QUOTAS: [BlobQuota; 2] =
    [BlobQuota { bytes: None, count: Some(5) }, BlobQuota { bytes: Some(8_000), count: None }];

pub(super) struct Actor {
    stage: Arc<Stage>,
    random: StdRng,
    accounts: Vec<Account>,
}

struct Account {
    name: String,
    repo: SeededRepo,
    quota: BlobQuota,
    ledger: Ledger,
}

/// How a write ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Done,
    /// What is there already is not written again.
    Needless,
    /// A picture was not there, and need not be.
    Refused,
}

impl Actor {
    pub(super) async fn enter(stage: &Arc<Stage>, number: usize, seed: u64) -> Self {
        let mut accounts = Vec::new();
        for place in 0..ACCOUNTS {
            // DIDs of tests have letters only.
            let letter = |number: usize| char::from(b'b' + u8::try_from(number).unwrap());
            let name = format!("{}{}.test", letter(number), letter(place));
            let quota = if place == 0 { BlobQuota::default() } else { QUOTAS[number % QUOTAS.len()] };
            let repo = sign_up(stage, &name, quota).await;
            accounts.push(Account { name, repo, quota, ledger: Ledger::default() });
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
                0..18 => self.upload(account).await,
                18..22 => self.upload_two().await,
                22..25 => self.begin_upload(account).await,
                25..47 => self.show(account).await,
                47..60 => self.delete(account).await,
                60..74 => self.look(account).await,
                74..80 => self.moderate(account).await,
                80..85 => self.show_while_uploading(account).await,
                85..91 => self.show_while_deleting(account).await,
                91..95 => self.keep(account).await,
                95 => self.show_and_delete(account).await,
                96 | 97 => self.import(account).await,
                98 => self.import_while_uploading(account).await,
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
            assert!(self.write(1, ledger::delete(&rkey), &[]).await == Write::Done);
            self.accounts[1].ledger.records.remove(&rkey);
        }
        if self.random.random_ratio(1, 4) {
            self.delete_account(1).await;
        }
        let (Account { repo, ledger, .. }, mut left) = (&self.accounts[0], Vec::new());
        for picture in 0..PICTURES {
            let is_whole = self.is_whole(0, picture).await;
            assert!(is_whole || !ledger.is_readable(picture), "{repo:?} lost picture {picture}");
            if is_whole {
                left.push((repo.did.clone(), ledger::cid(picture)));
            }
        }
        left
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

    /// Writes a new record or an old one.
    async fn show(&mut self, account: usize) {
        let rkey = if self.random.random_ratio(1, 3) { self.record(account) } else { None };
        let rkey = rkey.unwrap_or_else(|| self.accounts[account].ledger.new_key());
        let mut pictures = vec![self.picture()];
        if self.random.random_ratio(1, 3) {
            pictures.push(self.picture());
        }
        let write = ledger::show(&rkey, &pictures);
        if self.write(account, write, &pictures).await == Write::Done {
            self.accounts[account].ledger.wrote(rkey, pictures);
        }
    }

    async fn delete(&mut self, account: usize) {
        let Some(rkey) = self.record(account) else { return };
        assert!(self.write(account, ledger::delete(&rkey), &[]).await == Write::Done);
        self.accounts[account].ledger.records.remove(&rkey);
        self.stage.tally.deletions.increment();
    }

    async fn write(&mut self, account: usize, write: PreparedWrite, pictures: &[Picture]) -> Write {
        let replica = self.replica();
        self.write_at(&replica, account, write, pictures).await
    }

    async fn write_at(&self, replica: &Replica, account: usize, write: PreparedWrite, pictures: &[Picture]) -> Write {
        let Account { repo, ledger, .. } = &self.accounts[account];
        match replica.repos.apply_writes(repo.account, &repo.did, vec![write], None).await {
            Ok(None) => Write::Needless,
            Ok(Some(_)) => {
                assert!(!ledger.must_be_refused(pictures), "{pictures:?}: {ledger:?}");
                self.stage.tally.writes.increment();
                Write::Done
            }
            Err(WriteError::BlobNotFound(cid)) => {
                assert!(!ledger.must_be_taken(pictures), "{repo:?} lost {cid}: {pictures:?}: {ledger:?}");
                self.stage.tally.refused_writes.increment();
                Write::Refused
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Reads what must be there, and what must not be shown.
    async fn look(&mut self, account: usize) {
        let picture = self.picture();
        let is_whole = self.is_whole(account, picture).await;
        let Account { repo, ledger, .. } = &mut self.accounts[account];
        if is_whole && ledger.may_be_readable(picture) {
            // From here on it must be.
            ledger.doubtful.remove(&picture);
        }
        let is_right = is_whole == ledger.is_readable(picture) || ledger.may_be_readable(picture);
        assert!(is_right, "{repo:?} has lost or shows picture {picture}: {ledger:?}");
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
            ledger.doubtful.remove(&picture);
            tally.takedowns.increment();
        }
    }

    /// An operator may bring back what nobody needs.
    async fn keep(&mut self, account: usize) {
        let (picture, replica) = (self.picture(), self.replica());
        let Account { repo, ledger, .. } = &mut self.accounts[account];
        if replica.blobs.keep(&audit::Actor::Admin, &repo.did, ledger::cid(picture)).await.unwrap() {
            ledger.fresh.insert(picture);
            ledger.doubtful.remove(&picture);
            self.stage.tally.kept.increment();
        }
    }

    async fn mark(&mut self, account: usize, picture: Picture, reference: Option<&str>) -> bool {
        let replica = self.replica();
        let did = &self.accounts[account].repo.did;
        replica.blobs.mark(&audit::Actor::Admin, did, ledger::cid(picture), reference).await.unwrap()
    }

    /// Another account with the same DID has none of what the first one had.
    async fn leave_and_return(&mut self, account: usize) {
        self.delete_account(account).await;
        let Account { name, repo, quota, ledger } = &mut self.accounts[account];
        *repo = sign_up(&self.stage, name, *quota).await;
        *ledger = Ledger::default();
        self.stage.tally.returns.increment();
    }

    async fn delete_account(&mut self, account: usize) {
        let replica = self.replica();
        assert!(replica.lifecycle.delete(&self.accounts[account].repo.did, None).await.unwrap());
    }
}

/// An account that may have so much, before it has anything.
async fn sign_up(stage: &Stage, name: &str, quota: BlobQuota) -> SeededRepo {
    let repo = seed::repo(&stage.db.pool(), name).await;
    if quota != BlobQuota::default() {
        let quotas = stage.replicas[0].blobs.quotas();
        assert!(quotas.set(&audit::Actor::Admin, &repo.did, Some(quota)).await.unwrap());
    }
    repo
}
