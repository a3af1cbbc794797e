//! What an actor knows of an account.

use std::collections::{BTreeMap, BTreeSet};

use atproto::data::{BlobRef, Cid, Ipld};
use common::repo::{PreparedRecord, PreparedWrite, RecordPath, SwapRecord};

/// Pictures that there are, each of them the same for all accounts.
pub(super) const PICTURES: usize = 9;
/// The type of all of them.
pub(super) const MEDIA_TYPE: &str = "image/png";
const COLLECTION: &str = "com.example.picture";

/// One of the pictures.
pub(super) type Picture = usize;

/// The records of an account, and what was done with its blobs.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The pictures that each record shows, by its key.
    pub(super) records: BTreeMap<String, Vec<Picture>>,
    /// Pictures that a moderator hid.
    pub(super) hidden: BTreeSet<Picture>,
    /// Pictures that were uploaded since time last leapt: nothing may take them away.
    pub(super) fresh: BTreeSet<Picture>,
    /// Records written so far.
    number: u64,
}

impl Ledger {
    /// Whether a record shows a picture.
    pub(super) fn is_shown(&self, picture: Picture) -> bool {
        self.records.values().flatten().any(|shown| *shown == picture)
    }

    /// Whether everybody must be able to read it.
    pub(super) fn is_readable(&self, picture: Picture) -> bool {
        self.is_shown(picture) && !self.hidden.contains(&picture)
    }

    /// Whether a record that shows these must be taken.
    pub(super) fn must_be_taken(&self, pictures: &[Picture]) -> bool {
        let is_there = |picture| self.fresh.contains(picture) || self.is_shown(*picture);
        pictures.iter().all(|picture| is_there(picture) && !self.hidden.contains(picture))
    }

    /// Whether a record that shows these must be refused.
    pub(super) fn must_be_refused(&self, pictures: &[Picture]) -> bool {
        pictures.iter().any(|picture| self.hidden.contains(picture))
    }

    /// A key that no record has.
    pub(super) fn new_key(&mut self) -> String {
        self.number += 1;
        format!("r{}", self.number)
    }

    /// The pictures that everybody must be able to read.
    pub(super) fn readable(&self) -> impl Iterator<Item = Picture> {
        (0..PICTURES).filter(|picture| self.is_readable(*picture))
    }
}

/// The bytes of a picture, some hundreds to thousands of them.
pub(super) fn bytes(picture: Picture) -> Vec<u8> {
    format!("picture {picture} ").repeat(20 + 40 * picture).into_bytes()
}

pub(super) fn cid(picture: Picture) -> Cid {
    Cid::raw(&bytes(picture))
}

/// Writes a record that shows these, whether or not there is one.
pub(super) fn show(rkey: &str, pictures: &[Picture]) -> PreparedWrite {
    let reference = |picture: &Picture| {
        let (cid, size) = (cid(*picture), bytes(*picture).len() as u64);
        BlobRef { cid, mime_type: MEDIA_TYPE.to_owned(), size: Some(size) }.to_ipld()
    };
    let path = path(rkey);
    let value = Ipld::Map([("pictures".to_owned(), Ipld::List(pictures.iter().map(reference).collect()))].into());
    let record = PreparedRecord::new(&path, value, None).unwrap();
    PreparedWrite::Put { path, record, swap: SwapRecord::Any }
}

pub(super) fn delete(rkey: &str) -> PreparedWrite {
    PreparedWrite::Delete { path: path(rkey) }
}

/// Deletes a record if it is there.
pub(super) fn remove(rkey: &str) -> PreparedWrite {
    PreparedWrite::Remove { path: path(rkey), swap: SwapRecord::Any }
}

pub(super) fn path(rkey: &str) -> RecordPath {
    RecordPath { collection: COLLECTION.parse().unwrap(), rkey: rkey.parse().unwrap() }
}
