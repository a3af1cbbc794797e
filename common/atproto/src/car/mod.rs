//! Block archives: CAR version 1, as repos are exported, imported and carried in events.
//!
//! Form: a header `{roots: [CID], version: 1}` in DAG-CBOR, then one section for each block, of its CID and its bytes;
//! header and sections each behind their length as a varint. Both directions work section by section, so an archive
//! of any size takes the memory of its largest block.
//!
//! Source: ipld.io/specs/transport/car/carv1; atproto.com/specs/repository, "CAR file serialization".

mod read;
mod varint;
mod write;

pub use read::{CarError, MAX_HEADER_LEN, MAX_SECTION_LEN, Reader, read};
pub use write::{HEADER_LEN, archive, header, section, section_len};

#[cfg(test)]
mod tests;
