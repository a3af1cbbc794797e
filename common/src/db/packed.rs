//! Many small rows in one value.
//!
//! A row costs both ends of a connection more than the few hundred bytes that are in it. Where thousands are read at once,
//! Postgres joins them with `string_agg`, and what comes is cut here, without copies:
//! a CID as its 36 bytes; bytes, or text, after their number, an `int4` of which -1 means `NULL`.

use std::str::FromStr;

use atproto::data::{CID_LEN, Cid};
use bytes::{Buf as _, Bytes};
use sqlx::Error;

/// What is left of the rows.
#[derive(Debug)]
pub(crate) struct Packed(Bytes);

impl Packed {
    /// The rows of an aggregate, which is `NULL` if there are none.
    pub(crate) fn new(rows: Option<Vec<u8>>) -> Self {
        Self(rows.unwrap_or_default().into())
    }

    /// True after the last row.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A CID.
    pub(crate) fn cid(&mut self) -> sqlx::Result<Cid> {
        Cid::from_bytes(&self.cut(CID_LEN)?).map_err(|error| Error::Decode(error.into()))
    }

    /// Bytes, or `NULL`.
    pub(crate) fn bytes(&mut self) -> sqlx::Result<Option<Bytes>> {
        let count = self.0.try_get_i32().map_err(|error| Error::Decode(error.into()))?;
        usize::try_from(count).ok().map(|count| self.cut(count)).transpose()
    }

    /// Text that is the protocol form of a value.
    pub(crate) fn text<T>(&mut self) -> sqlx::Result<T>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let text = self.bytes()?.unwrap_or_default();
        let text = str::from_utf8(&text).map_err(|error| Error::Decode(error.into()))?;
        text.parse().map_err(|error: T::Err| Error::Decode(error.into()))
    }

    fn cut(&mut self, count: usize) -> sqlx::Result<Bytes> {
        if self.0.len() < count {
            return Err(Error::Decode("packed rows end in the middle of one".into()));
        }
        Ok(self.0.split_to(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_joined_comes_apart() {
        let cid = Cid::raw(b"x");
        let rows = [cid.as_bytes().as_slice(), b"\0\0\0\x02ab", cid.as_bytes(), b"\xff\xff\xff\xff"].concat();
        let mut packed = Packed::new(Some(rows));
        assert_eq!((packed.cid().unwrap(), packed.bytes().unwrap().unwrap().as_ref()), (cid, b"ab".as_slice()));
        assert!(!packed.is_empty());
        assert_eq!((packed.cid().unwrap(), packed.bytes().unwrap()), (cid, None));
        assert!(packed.is_empty() && Packed::new(None).is_empty());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for rows in [b"\0\0\0".as_slice(), b"\0\0\0\x02a", b"\x7f\xff\xff\xff"] {
            assert!(Packed::new(Some(rows.to_vec())).bytes().is_err(), "{rows:?}");
        }
        assert!(Packed::new(Some(vec![0; CID_LEN - 1])).cid().is_err());
        assert!(Packed::new(Some(vec![0; CID_LEN])).cid().is_err());
    }
}
