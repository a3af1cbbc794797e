//! Repos that come in the place of others, whatever of their pictures is there.

use std::collections::BTreeMap;

use rand::RngExt as _;

use super::super::ledger::{self, Records};
use super::super::stage::Replica;
use super::{Account, Actor};

/// More than any of these archives has.
const MAX_BYTES: u64 = 1 << 20;
/// New records of an archive, at most.
const NEW: usize = 3;

impl Actor {
    pub(super) async fn import(&mut self, account: usize) {
        let (records, replica) = (self.other_records(account), self.replica());
        self.import_at(&replica, account, &records).await;
        self.note_import(account, records);
    }

    /// Some of an account's records, and some new ones.
    pub(super) fn other_records(&mut self, account: usize) -> Records {
        let mut records: Records = BTreeMap::new();
        for (rkey, pictures) in self.accounts[account].ledger.records.clone() {
            if self.random.random_ratio(1, 2) {
                records.insert(rkey, pictures);
            }
        }
        for _ in 0..self.random.random_range(0..=NEW) {
            let picture = self.picture();
            records.insert(self.accounts[account].ledger.new_key(), vec![picture]);
        }
        records
    }

    pub(super) async fn import_at(&self, replica: &Replica, account: usize, records: &Records) {
        let Account { repo, .. } = &self.accounts[account];
        let mut upload = replica.repos.import(repo.account, &repo.did, MAX_BYTES).await.unwrap();
        upload.push(ledger::archive(&repo.did, records)).await;
        upload.finish().await.unwrap();
    }

    pub(super) fn note_import(&mut self, account: usize, records: Records) {
        let doubtful = self.accounts[account].ledger.imported(records);
        self.stage.tally.imports.increment();
        self.stage.tally.doubtful.add(doubtful);
    }
}
