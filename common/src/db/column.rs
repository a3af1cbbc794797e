//! Protocol types as columns. `atproto` knows nothing of SQL, so its types travel in the wrappers of this file.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use atproto::data::Cid;
use sqlx::encode::IsNull;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};

/// A value kept as `text` in its protocol form (DID, handle, NSID, rkey, TID…), parsed when it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextColumn<T>(pub T);

/// A CID kept as `bytea` in its binary form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CidColumn(pub Cid);

impl<T> Type<Postgres> for TextColumn<T> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(info)
    }
}

impl<T> PgHasArrayType for TextColumn<T> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

impl<T: Display> Encode<'_, Postgres> for TextColumn<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        Encode::<Postgres>::encode(self.0.to_string(), buffer)
    }
}

impl<T> Decode<'_, Postgres> for TextColumn<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    fn decode(value: PgValueRef<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(<&str as Decode<Postgres>>::decode(value)?.parse()?))
    }
}

impl Type<Postgres> for CidColumn {
    fn type_info() -> PgTypeInfo {
        <[u8] as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for CidColumn {
    fn array_type_info() -> PgTypeInfo {
        <&[u8] as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for CidColumn {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        Encode::<Postgres>::encode(self.0.as_bytes().as_slice(), buffer)
    }
}

impl Decode<'_, Postgres> for CidColumn {
    fn decode(value: PgValueRef<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(Cid::from_bytes(<&[u8] as Decode<Postgres>>::decode(value)?)?))
    }
}
