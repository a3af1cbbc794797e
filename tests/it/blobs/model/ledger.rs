//! What an actor knows of an account.

use std::collections::{BTreeMap, BTreeSet};

use atproto::data::{BlobRef, Cid, Ipld};
use atproto::syntax::Did;
use bytes::Bytes;
use common::repo::{PreparedRecord, PreparedWrite, RecordPath, SwapRecord};
use common::testing::RepoArchive;

/// Pictures that there are, each of them the same for all accounts.
pub(super) const PICTURES: usize = 9;
/// The type of all of them.
pub(super) const MEDIA_TYPE: &str = "image/png";
const COLLECTION: &str = "com.example.picture";

/// One of the pictures.
pub(super) type Picture = usize;

/// Records by key, and the pictures that each shows.
pub(super) type Records = BTreeMap<String, Vec<Picture>>;

/// The records of an account, and what was done with its blobs.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) records: Records,
    /// Pictures that a moderator hid.
    pub(super) hidden: BTreeSet<Picture>,
    /// Pictures that were uploaded since time last leapt: nothing may take them away.
    pub(super) fresh: BTreeSet<Picture>,
    /// Pictures that came with an import, and of which nobody has seen yet whether they are there.
    pub(super) doubtful: BTreeSet<Picture>,
    /// Records written so far.
    number: u64,
}

impl Ledger {
    /// Whether a record shows a picture.
    pub(super) fn is_shown(&self, picture: Picture) -> bool {
        self.records.values().flatten().any(|shown| *shown == picture)
    }

    /// Whether a record shows a picture that is there.
    pub(super) fn is_in_use(&self, picture: Picture) -> bool {
        self.is_shown(picture) && !self.doubtful.contains(&picture)
    }

    /// Whether it must be there, be it hidden or not.
    pub(super) fn is_there(&self, picture: Picture) -> bool {
        self.fresh.contains(&picture) || self.hidden.contains(&picture) || self.is_in_use(picture)
    }

    /// Whether everybody must be able to read it.
    pub(super) fn is_readable(&self, picture: Picture) -> bool {
        self.is_in_use(picture) && !self.hidden.contains(&picture)
    }

    /// Whether everybody may be able to read it, or not.
    pub(super) fn may_be_readable(&self, picture: Picture) -> bool {
        self.is_shown(picture) && !self.is_in_use(picture) && !self.hidden.contains(&picture)
    }

    /// Whether a record that shows these must be taken.
    pub(super) fn must_be_taken(&self, pictures: &[Picture]) -> bool {
        pictures.iter().all(|picture| self.is_there(*picture) && !self.hidden.contains(picture))
    }

    /// A record was written, so what it shows is there.
    pub(super) fn wrote(&mut self, rkey: String, pictures: Vec<Picture>) {
        for picture in &pictures {
            self.doubtful.remove(picture);
        }
        self.records.insert(rkey, pictures);
    }

    /// These records came in the place of all others, whether what they show is there or not. Gives how many pictures of
    /// them may be missing.
    pub(super) fn imported(&mut self, records: Records) -> u64 {
        let shown: BTreeSet<Picture> = records.values().flatten().copied().collect();
        let doubtful: Vec<Picture> = shown.into_iter().filter(|picture| !self.is_there(*picture)).collect();
        self.doubtful.extend(&doubtful);
        self.records = records;
        doubtful.len() as u64
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
    let path = path(rkey);
    let record = PreparedRecord::new(&path, value(pictures), None).unwrap();
    PreparedWrite::Put { path, record, swap: SwapRecord::Any }
}

/// The archive of a repo with these records.
pub(super) fn archive(did: &Did, records: &Records) -> Bytes {
    let records = records.iter().map(|(rkey, pictures)| (path(rkey).to_string(), value(pictures)));
    RepoArchive::new(did, records).to_car()
}

fn value(pictures: &[Picture]) -> Ipld {
    let reference = |picture: &Picture| {
        let (cid, size) = (cid(*picture), bytes(*picture).len() as u64);
        BlobRef { cid, mime_type: MEDIA_TYPE.to_owned(), size: Some(size) }.to_ipld()
    };
    let pictures = Ipld::List(pictures.iter().map(reference).collect());
    Ipld::Map([("$type".to_owned(), Ipld::String(COLLECTION.to_owned())), ("pictures".to_owned(), pictures)].into())
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
