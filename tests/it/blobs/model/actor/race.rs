//! Two things at the same time.

use rand::seq::IndexedRandom as _;

use super::super::ledger::{self, PICTURES, Picture};
use super::{Account, Actor, Write};

impl Actor {
    /// Into the account with a quota, which may have a place for one of them only.
    pub(super) async fn upload_two(&mut self) {
        let (account, here, there) = (1, self.replica(), self.replica());
        let ledger = &self.accounts[account].ledger;
        let new: Vec<Picture> = (0..PICTURES).filter(|picture| !ledger.is_there(*picture)).collect();
        let pictures: Vec<Picture> = new.sample(&mut self.random, 2).copied().collect();
        let [first, second] = pictures[..] else { return };
        let (one, other) = tokio::join!(self.upload_at(&here, account, first), self.upload_at(&there, account, second));
        self.note_upload(account, first, one);
        self.note_upload(account, second, other);
        self.stage.tally.races.increment();
    }

    /// The record may come before the picture.
    pub(super) async fn show_while_uploading(&mut self, account: usize) {
        let (picture, here, there) = (self.picture(), self.replica(), self.replica());
        let rkey = self.accounts[account].ledger.new_key();
        let (write, pictures) = (ledger::show(&rkey, &[picture]), [picture]);
        let (uploaded, written) =
            tokio::join!(self.upload_at(&here, account, picture), self.write_at(&there, account, write, &pictures));
        self.note_upload(account, picture, uploaded);
        if written == Write::Done {
            self.accounts[account].ledger.wrote(rkey, pictures.into());
        }
        self.stage.tally.races.increment();
    }

    /// The repo may come before the picture that it shows.
    pub(super) async fn import_while_uploading(&mut self, account: usize) {
        let (picture, here, there) = (self.picture(), self.replica(), self.replica());
        let mut records = self.other_records(account);
        records.insert(self.accounts[account].ledger.new_key(), vec![picture]);
        let (uploaded, ()) =
            tokio::join!(self.upload_at(&here, account, picture), self.import_at(&there, account, &records));
        self.note_import(account, records);
        self.note_upload(account, picture, uploaded);
        self.stage.tally.races.increment();
    }

    /// One record takes up what the other lets go.
    pub(super) async fn show_while_deleting(&mut self, account: usize) {
        let Some(old) = self.record(account) else { return };
        let pictures = self.accounts[account].ledger.records[&old].clone();
        let (new, here, there) = (self.accounts[account].ledger.new_key(), self.replica(), self.replica());
        let (deletion, write) = (ledger::delete(&old), ledger::show(&new, &pictures));
        let (deleted, written) = tokio::join!(
            self.write_at(&here, account, deletion, &[]),
            self.write_at(&there, account, write, &pictures)
        );
        assert!(deleted == Write::Done);
        let ledger = &mut self.accounts[account].ledger;
        ledger.records.remove(&old);
        if written == Write::Done {
            ledger.wrote(new, pictures);
        }
        self.stage.tally.races.increment();
    }

    /// Two commits of one chain: the record is never stored.
    pub(super) async fn show_and_delete(&mut self, account: usize) {
        let (picture, replica) = (self.picture(), self.replica());
        let rkey = self.accounts[account].ledger.new_key();
        let (write, deletion) = (ledger::show(&rkey, &[picture]), ledger::remove(&rkey));
        let pictures = [picture];
        let (written, removed) = tokio::join!(
            self.write_at(&replica, account, write, &pictures),
            self.write_at(&replica, account, deletion, &[])
        );
        assert!(removed != Write::Refused);
        let Account { repo, ledger, .. } = &mut self.accounts[account];
        let path = ledger::path(&rkey);
        let found = replica.repos.find_record(repo.account, &path.collection, &path.rkey).await.unwrap();
        if found.is_some() {
            assert!(written == Write::Done);
            ledger.wrote(rkey, pictures.into());
        }
        self.stage.tally.races.increment();
    }
}
