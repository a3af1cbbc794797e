//! References to blobs inside records.

use std::collections::BTreeMap;

use super::{Cid, Codec, Ipld};

/// A blob reference: `{"$type": "blob", "ref": link, "mimeType": text, "size": integer}` and no other key.
///
/// Source: atproto.com/specs/data-model, "Blob type".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// The blob's CID; of the raw codec if it was made by the rules.
    pub cid: Cid,
    /// The media type; it contains a `/`.
    pub mime_type: String,
    /// Size in bytes; `None` for the −1 that marks references upgraded from the legacy form.
    pub size: Option<u64>,
}

/// A blob reference of the time before typed ones: `{"cid": text, "mimeType": text}` and no other key.
///
/// Found in old records; new records must not have any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LegacyBlobRef {
    /// The blob's CID.
    pub cid: Cid,
    /// The media type.
    pub mime_type: String,
}

/// A reference found in a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordBlob {
    /// In the present form.
    Typed(BlobRef),
    /// In the form that new records must not have.
    Legacy(LegacyBlobRef),
}

impl BlobRef {
    /// Reads a reference, as leniently as records in the wild need: the size may be −1 and the CID of any known codec.
    /// `None` if the value is something else.
    pub fn from_ipld(value: &Ipld) -> Option<Self> {
        let Ipld::Map(entries) = value else {
            return None;
        };
        if entries.len() != 4 || text(entries, "$type")? != "blob" {
            return None;
        }
        let (Ipld::Link(cid), Ipld::Integer(size)) = (entries.get("ref")?, entries.get("size")?) else {
            return None;
        };
        let size = match size {
            -1 => None,
            size => Some(u64::try_from(*size).ok()?),
        };
        let mime_type = text(entries, "mimeType").filter(|text| text.contains('/'))?;
        Some(Self { cid: Cid::try_from(cid).ok()?, mime_type: mime_type.to_owned(), size })
    }

    /// The reference as a value.
    pub fn to_ipld(&self) -> Ipld {
        Ipld::Map(BTreeMap::from([
            ("$type".to_owned(), Ipld::String("blob".to_owned())),
            ("ref".to_owned(), Ipld::Link(self.cid.into())),
            ("mimeType".to_owned(), Ipld::String(self.mime_type.clone())),
            ("size".to_owned(), Ipld::Integer(self.size.map_or(-1, i128::from))),
        ]))
    }

    /// True if the reference is as new records must have it: a raw CID and a known size.
    pub fn is_strict(&self) -> bool {
        self.cid.codec() == Codec::Raw && self.size.is_some()
    }
}

impl LegacyBlobRef {
    /// Reads a legacy reference; `None` if the value is something else.
    pub fn from_ipld(value: &Ipld) -> Option<Self> {
        let Ipld::Map(entries) = value else {
            return None;
        };
        if entries.len() != 2 {
            return None;
        }
        let (cid, mime_type) = (text(entries, "cid")?, text(entries, "mimeType")?);
        Some(Self { cid: cid.parse().ok()?, mime_type: mime_type.to_owned() })
    }
}

impl RecordBlob {
    /// The blob's CID.
    pub fn cid(&self) -> Cid {
        match self {
            Self::Typed(blob) => blob.cid,
            Self::Legacy(blob) => blob.cid,
        }
    }
}

fn text<'a>(entries: &'a BTreeMap<String, Ipld>, key: &str) -> Option<&'a str> {
    match entries.get(key)? {
        Ipld::String(text) => Some(text),
        _ => None,
    }
}

/// Collects every blob reference in a record, at any depth, in the order of its keys and lists; repeated ones repeat.
///
/// `value` must come from a decoder of this module, which bounds its depth.
pub fn find_blobs(value: &Ipld) -> Vec<RecordBlob> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Ipld, found: &mut Vec<RecordBlob>) {
    match value {
        Ipld::List(items) => items.iter().for_each(|item| collect(item, found)),
        Ipld::Map(entries) => {
            let blob = BlobRef::from_ipld(value)
                .map(RecordBlob::Typed)
                .or_else(|| LegacyBlobRef::from_ipld(value).map(RecordBlob::Legacy));
            match blob {
                Some(blob) => found.push(blob),
                None => entries.values().for_each(|entry| collect(entry, found)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::json::from_json;

    fn blob() -> BlobRef {
        BlobRef { cid: Cid::raw(b"cat"), mime_type: "image/png".to_owned(), size: Some(3) }
    }

    #[test]
    fn a_reference_round_trips() {
        let blob = blob();
        assert_eq!(BlobRef::from_ipld(&blob.to_ipld()), Some(blob.clone()));
        assert!(blob.is_strict());
        let upgraded = BlobRef { size: None, ..blob };
        assert_eq!(BlobRef::from_ipld(&upgraded.to_ipld()), Some(upgraded.clone()));
        assert!(!upgraded.is_strict());
    }

    #[test]
    fn other_maps_are_no_references() {
        let link = json!({ "$link": Cid::raw(b"cat").to_string() });
        for json in [
            json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": "3" }),
            json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": -2 }),
            json!({ "$type": "blob", "ref": link, "mimeType": "image", "size": 3 }),
            json!({ "$type": "blob", "ref": link, "mimeType": "image/png" }),
            json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": 3, "alt": "cat" }),
            json!({ "$type": "Blob", "ref": link, "mimeType": "image/png", "size": 3 }),
            json!({ "$type": "blob", "ref": "bafkrei", "mimeType": "image/png", "size": 3 }),
            json!([]),
        ] {
            assert_eq!(BlobRef::from_ipld(&from_json(&json).unwrap()), None, "{json}");
        }
    }

    #[test]
    fn references_are_found_at_any_depth() {
        let cid = Cid::raw(b"dog");
        let record = from_json(&json!({
            "embed": { "images": [{ "image": { "$type": "blob", "ref": { "$link": blob().cid.to_string() }, "mimeType": "image/png", "size": 3 } }] },
            "avatar": { "cid": cid.to_string(), "mimeType": "image/jpeg" },
            "not": { "cid": "abc", "mimeType": "image/jpeg" },
        }));
        let legacy = LegacyBlobRef { cid, mime_type: "image/jpeg".to_owned() };
        let found = find_blobs(&record.unwrap());
        assert_eq!(found, [RecordBlob::Legacy(legacy), RecordBlob::Typed(blob())]);
        assert_eq!(found[0].cid(), cid);
    }
}
