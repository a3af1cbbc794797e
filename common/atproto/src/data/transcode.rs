//! Values from DAG-CBOR straight to JSON.

use std::cell::Cell;

use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::json;
use super::value::MAX_DEPTH;
use crate::wire::{Item, Reader, WireError};

/// A value in DAG-CBOR that serializes in its JSON form, item by item: the value itself is never built, which is most of
/// the work of answering with a record.
///
/// For blocks that were checked when they were stored. Of others it is only certain that the work is bounded by their
/// length and their depth by [`MAX_DEPTH`]; serializing what is not one value of the data model fails, or gives something.
#[derive(Clone, Copy, Debug)]
pub struct CborAsJson<B>(pub B);

impl<B: AsRef<[u8]>> Serialize for CborAsJson<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reader = Cell::new(Reader::new(self.0.as_ref()));
        let done = Next { reader: &reader, levels: MAX_DEPTH }.serialize(serializer)?;
        reader.get().finish().map_err(S::Error::custom)?;
        Ok(done)
    }
}

/// Whatever the reader comes to next.
struct Next<'r, 'a> {
    reader: &'r Cell<Reader<'a>>,
    /// How many more levels it may have.
    levels: usize,
}

impl<'a> Next<'_, 'a> {
    fn read<T, E: serde::ser::Error>(
        &self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> Result<T, E> {
        let mut reader = self.reader.get();
        let item = read(&mut reader).map_err(E::custom)?;
        self.reader.set(reader);
        Ok(item)
    }

    fn below<E: serde::ser::Error>(&self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("value is nested too deeply"))?;
        Ok(Self { reader: self.reader, levels })
    }
}

impl Serialize for Next<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.read::<_, S::Error>(Reader::item)? {
            Item::Null => serializer.serialize_unit(),
            Item::Bool(value) => serializer.serialize_bool(value),
            Item::Int(value) => serializer.serialize_i64(value),
            Item::Text(text) => serializer.serialize_str(text),
            Item::Bytes(bytes) => json::write_bytes(serializer, bytes),
            Item::Link(cid) => json::write_link(serializer, &cid),
            Item::Array(items) => {
                let below = self.below::<S::Error>()?;
                let mut list = serializer.serialize_seq(Some(items))?;
                for _ in 0..items {
                    list.serialize_element(&below)?;
                }
                list.end()
            }
            Item::Map(entries) => {
                let below = self.below::<S::Error>()?;
                let mut map = serializer.serialize_map(Some(entries))?;
                for _ in 0..entries {
                    map.serialize_entry(self.read::<_, S::Error>(Reader::text)?, &below)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_does_not_serialize() {
        let deep = |levels: usize| [vec![0x81; levels], vec![0xf6]].concat();
        assert!(serde_json::to_string(&CborAsJson(deep(MAX_DEPTH))).is_ok());
        for (what, bytes) in [
            ("nothing", vec![]),
            ("two values", vec![0xf6, 0xf6]),
            ("cut off", vec![0x82, 0xf6]),
            ("a list longer than its block", vec![0x9b, 0, 0, 0, 1, 0, 0, 0, 0]),
            ("a float", vec![0xfb, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("another tag", vec![0xc1, 0x01]),
            ("a key that is no text", vec![0xa1, 0x01, 0x01]),
            ("too deep", deep(MAX_DEPTH + 1)),
        ] {
            assert!(serde_json::to_string(&CborAsJson(bytes)).is_err(), "{what}");
        }
    }
}
