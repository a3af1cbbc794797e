//! Canonical DAG-CBOR of types whose fields are known: tree nodes, commits, event frames, archive headers.
//!
//! [`Writer`] cannot fail and [`Reader`] accepts only the canonical form, so what was read encodes to the same bytes
//! again. Both work on one item at a time and never allocate by a length that the input merely claims. Records, whose
//! shape is open, go through [`crate::data`] instead.

use crate::data::{CID_LEN, Cid};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const FALSE: u64 = 20;
const TRUE: u64 = 21;
const NULL: u64 = 22;
const NULL_ITEM: u8 = 0xf6;

/// What precedes the 36 bytes of a CID: tag 42, the head of a string of 37 bytes, and a zero byte.
const CID_HEAD: [u8; 5] = [0xd8, 0x2a, 0x58, 0x25, 0x00];

/// Why bytes are not the canonical DAG-CBOR of the expected type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The input ends in the middle of an item.
    #[error("input ends early")]
    Truncated,
    /// Bytes are left behind the last item.
    #[error("bytes after the end")]
    Trailing,
    /// An integer or length is not in its shortest form, or a length is indefinite.
    #[error("integer or length not in its shortest form")]
    NotShortest,
    /// Another kind of item, map key or value than the type has at this place.
    #[error("expected {0}")]
    Expected(&'static str),
}

/// Appends canonical items to a buffer. The caller writes map keys in canonical order: by length, then bytewise.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: u8, value: u64) {
        let bytes = value.to_be_bytes();
        // The low bits of the first byte: the value itself, or a code for the width of the value that follows.
        let (low, width) = match value {
            0..24 => (bytes[7], 0),
            24..0x100 => (0x18, 1),
            0x100..0x1_0000 => (0x19, 2),
            0x1_0000..0x1_0000_0000 => (0x1a, 4),
            _ => (0x1b, 8),
        };
        self.0.push(major << 5 | low);
        self.0.extend_from_slice(&bytes[8 - width..]);
    }

    pub(crate) fn map(&mut self, entries: usize) -> &mut Self {
        self.head(MAP, entries as u64);
        self
    }

    pub(crate) fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, items as u64);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64);
        self.raw(text.as_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64);
        self.raw(bytes)
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        if value < 0 {
            self.head(NEGATIVE, !value.cast_unsigned());
        } else {
            self.head(UNSIGNED, value.cast_unsigned());
        }
        self
    }

    pub(crate) fn count(&mut self, value: usize) -> &mut Self {
        self.head(UNSIGNED, value as u64);
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.head(SIMPLE, if value { TRUE } else { FALSE });
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.head(SIMPLE, NULL);
        self
    }

    pub(crate) fn cid(&mut self, cid: &Cid) -> &mut Self {
        self.raw(&CID_HEAD).raw(cid.as_bytes())
    }

    pub(crate) fn optional_cid(&mut self, cid: Option<&Cid>) -> &mut Self {
        match cid {
            Some(cid) => self.cid(cid),
            None => self.null(),
        }
    }

    /// Appends items that are encoded already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }
}

/// An item of any kind; of a list or map, the number of items or entries that follow.
pub(crate) enum Item<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(usize),
    Map(usize),
    Link(Cid),
}

/// Reads canonical items from the front of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type and value of the next item's head.
    fn head(&mut self) -> Result<(u8, u64), WireError> {
        let (&first, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
        self.rest = rest;
        let (width, smallest) = match first & 0x1f {
            short @ 0..0x18 => return Ok((first >> 5, u64::from(short))),
            0x18 => (1, 24),
            0x19 => (2, 0x100),
            0x1a => (4, 0x1_0000),
            0x1b => (8, 0x1_0000_0000),
            _ => return Err(WireError::NotShortest),
        };
        let value = self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if value < smallest { Err(WireError::NotShortest) } else { Ok((first >> 5, value)) }
    }

    fn expect(&mut self, major: u8, name: &'static str) -> Result<u64, WireError> {
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(WireError::Expected(name)),
        }
    }

    /// A count of items. Every item has at least one byte, so a count above the bytes left is a lie.
    fn count(&mut self, major: u8, name: &'static str) -> Result<usize, WireError> {
        let count = self.expect(major, name)?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(WireError::Truncated),
        }
    }

    /// Takes whatever comes next.
    pub(crate) fn item(&mut self) -> Result<Item<'a>, WireError> {
        let first = *self.rest.first().ok_or(WireError::Truncated)?;
        match first >> 5 {
            UNSIGNED | NEGATIVE => self.int().map(Item::Int),
            BYTES => self.bytes().map(Item::Bytes),
            TEXT => self.text().map(Item::Text),
            ARRAY => self.array().map(Item::Array),
            MAP => self.map().map(Item::Map),
            TAG => self.cid().map(Item::Link),
            _ if self.null() => Ok(Item::Null),
            _ => self.bool().map(Item::Bool),
        }
    }

    pub(crate) fn map(&mut self) -> Result<usize, WireError> {
        self.count(MAP, "map")
    }

    /// Takes the head of a map with `count` entries.
    pub(crate) fn fields(&mut self, count: usize) -> Result<&mut Self, WireError> {
        if self.map()? == count { Ok(self) } else { Err(WireError::Expected("another number of fields")) }
    }

    /// Takes the head of a map with `required` entries, or with one more: whether it has the one more.
    pub(crate) fn optional_field(&mut self, required: usize) -> Result<bool, WireError> {
        match self.map()?.checked_sub(required) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(WireError::Expected("another number of fields")),
        }
    }

    pub(crate) fn array(&mut self) -> Result<usize, WireError> {
        self.count(ARRAY, "array")
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        let len = self.expect(TEXT, "text")?;
        std::str::from_utf8(self.take(len)?).map_err(|_| WireError::Expected("UTF-8"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.expect(BYTES, "bytes")?;
        self.take(len)
    }

    pub(crate) fn int(&mut self) -> Result<i64, WireError> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| WireError::Expected("64-bit integer"))?;
        match major {
            UNSIGNED => Ok(value),
            NEGATIVE => Ok(!value),
            _ => Err(WireError::Expected("integer")),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, WireError> {
        match self.head()? {
            (SIMPLE, FALSE) => Ok(false),
            (SIMPLE, TRUE) => Ok(true),
            _ => Err(WireError::Expected("boolean")),
        }
    }

    /// Takes a null if it is next.
    pub(crate) fn null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NULL_ITEM, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn cid(&mut self) -> Result<Cid, WireError> {
        const NAME: WireError = WireError::Expected("CID");
        let rest = self.rest.strip_prefix(&CID_HEAD).ok_or(NAME)?;
        let (cid, rest) = rest.split_at_checked(CID_LEN).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Cid::from_bytes(cid).map_err(|_| NAME)
    }

    pub(crate) fn optional_cid(&mut self) -> Result<Option<Cid>, WireError> {
        if self.null() { Ok(None) } else { self.cid().map(Some) }
    }

    /// Takes the map key `name`.
    pub(crate) fn key(&mut self, name: &'static str) -> Result<&mut Self, WireError> {
        if self.text()? == name { Ok(self) } else { Err(WireError::Expected(name)) }
    }

    /// Skips one item with everything in it.
    pub(crate) fn skip(&mut self) -> Result<(), WireError> {
        let mut pending: u64 = 1;
        // Each turn reads at least one byte, so the loop is bounded by the input whatever counts it claims.
        while pending > 0 {
            pending -= 1;
            match self.head()? {
                (UNSIGNED | NEGATIVE, _) | (SIMPLE, FALSE | TRUE | NULL) => {}
                (BYTES | TEXT, len) => _ = self.take(len)?,
                (ARRAY, items) => pending = pending.saturating_add(items),
                (MAP, entries) => pending = pending.saturating_add(entries.saturating_mul(2)),
                (TAG, 42) => pending = pending.saturating_add(1),
                _ => return Err(WireError::Expected("item of the data model")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_item_is_read_back() {
        let cid = Cid::dag_cbor(b"");
        let numbers = [0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX, -1, -24, -25, -256, -257, i64::MIN];
        let mut writer = Writer::default();
        writer.map(1).text("é").array(3).bytes(&[0; 300]).bool(true).null().cid(&cid).optional_cid(None);
        for number in numbers {
            writer.int(number);
        }
        let encoded = writer.finish();
        let mut reader = Reader::new(&encoded);
        assert_eq!(reader.map(), Ok(1));
        assert_eq!(reader.key("é").unwrap().array(), Ok(3));
        assert_eq!(reader.bytes(), Ok(&[0; 300][..]));
        assert_eq!(reader.bool(), Ok(true));
        assert!(reader.null());
        assert_eq!(reader.optional_cid(), Ok(Some(cid)));
        assert_eq!(reader.optional_cid(), Ok(None));
        for number in numbers {
            assert_eq!(reader.int(), Ok(number));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn longer_forms_and_lies_are_refused() {
        for bytes in
            [&[0x18, 23][..], &[0x19, 0, 255], &[0x1a, 0, 0, 255, 255], &[0x1b, 0, 0, 0, 0, 0, 0, 0, 1], &[0x9f]]
        {
            assert_eq!(Reader::new(bytes).head(), Err(WireError::NotShortest), "{bytes:x?}");
        }
        assert_eq!(Reader::new(&[0x9b, 0xff, 0, 0, 0, 0, 0, 0, 0]).array(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[0x7b, 0xff, 0, 0, 0, 0, 0, 0, 0]).text(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0]).int(), Err(WireError::Expected("64-bit integer")));
        assert_eq!(Reader::new(&[0]).finish(), Err(WireError::Trailing));
    }

    #[test]
    fn skip_takes_one_item_and_never_more() {
        let mut writer = Writer::default();
        writer.map(2).text("a").array(2).int(1).bytes(b"x").text("b").cid(&Cid::dag_cbor(b"")).int(7);
        let encoded = writer.finish();
        let mut reader = Reader::new(&encoded);
        assert_eq!(reader.skip(), Ok(()));
        assert_eq!(reader.int(), Ok(7));
        assert_eq!(Reader::new(&vec![0x81; 100_000]).skip(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[0xfb, 0, 0, 0, 0, 0, 0, 0, 0]).skip(), Err(WireError::NotShortest));
    }
}
