//! The table of items: what each is, and where its bytes are.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::{Budget, InspectError};

/// What an item is, if it is personal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ItemKind {
    Exif,
    /// XMP or another text.
    Text,
    /// A text that is compressed, in one of the ways that we know.
    Packed,
    /// Either that is encrypted, or compressed in another way.
    Sealed,
}

/// Codings of a text, as HTTP and writers of such files call them: none, and those of zlib.
const PLAIN: [&[u8]; 2] = [b"", b"identity"];
const PACKED: [&[u8]; 6] = [b"deflate", b"gzip", b"x-gzip", b"zlib", b"compress_zlib", b"compress_deflate"];

/// An item with metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    /// Where its bytes are in the file, in their order.
    pub(super) extents: Vec<Range<u64>>,
}

/// Reads what items are, by their numbers, from the content of `iinf`.
pub(super) fn kinds(content: &[u8], budget: &mut Budget) -> Result<BTreeMap<u32, ItemKind>, InspectError> {
    let mut fields = Fields(content);
    let mut kinds = BTreeMap::new();
    let wide = fields.version().is_some_and(|version| version > 0);
    let Some(count) = fields.number(if wide { 4 } else { 2 }) else { return Ok(kinds) };
    for _ in 0..count {
        budget.spend_part()?;
        let Some(entry) = fields.part(*b"infe") else { break };
        kinds.extend(kind(entry));
    }
    Ok(kinds)
}

/// One entry, if it is personal.
fn kind(content: &[u8]) -> Option<(u32, ItemKind)> {
    let mut fields = Fields(content);
    let version = fields.version()?;
    let id = fields.number(if version > 2 { 4 } else { 2 })?;
    let is_protected = fields.number(2)? != 0;
    // The first versions know items with a media type only.
    let kind = match if version < 2 { b"mime" } else { fields.take(4)? } {
        b"Exif" => ItemKind::Exif,
        b"mime" => text_kind(fields.0)?,
        // A text, or something else with a name of its maker's.
        b"uri " => ItemKind::Text,
        _ => return None,
    };
    Some((u32::try_from(id).ok()?, if is_protected { ItemKind::Sealed } else { kind }))
}

/// An item by its media type, and how it is packed; both follow its name. `None` if it is shown.
fn text_kind(texts: &[u8]) -> Option<ItemKind> {
    let mut texts = texts.split(|byte| *byte == 0).skip(1).map(<[u8]>::to_ascii_lowercase);
    let media_type = texts.next().unwrap_or_default();
    if media_type.starts_with(b"image/") || media_type.starts_with(b"video/") {
        return None;
    }
    let coding = texts.next().unwrap_or_default();
    Some(match coding.trim_ascii() {
        coding if PLAIN.contains(&coding) => ItemKind::Text,
        coding if PACKED.contains(&coding) => ItemKind::Packed,
        _ => ItemKind::Sealed,
    })
}

/// Reads where those items are from the content of `iloc`; `own_data` is what `idat` holds.
pub(super) fn places(
    content: &[u8],
    kinds: &BTreeMap<u32, ItemKind>,
    own_data: Option<&Range<u64>>,
    budget: &mut Budget,
) -> Result<Vec<Item>, InspectError> {
    let mut fields = Fields(content);
    let mut items = Vec::new();
    let Some(table) = Table::read(&mut fields) else { return Ok(items) };
    for _ in 0..table.count {
        let Some((id, place)) = table.entry(&mut fields, budget)? else { break };
        let Some(kind) = kinds.get(&id) else { continue };
        let base = match place.method {
            0 => Some(place.base),
            1 => own_data.and_then(|data| data.start.checked_add(place.base)),
            _ => None,
        };
        let unknown = InspectError::Unreadable("metadata in an unexpected place");
        let base = base.filter(|_| !place.is_elsewhere).ok_or(unknown)?;
        // No length means all there is.
        let to_range = |(offset, len): &(u64, u64)| {
            let start = base.saturating_add(*offset);
            start..if *len == 0 { u64::MAX } else { start.saturating_add(*len) }
        };
        items.push(Item { kind: *kind, extents: place.extents.iter().map(to_range).collect() });
    }
    Ok(items)
}

/// How wide the numbers of `iloc` are, and how many entries it has.
struct Table {
    version: u8,
    offset: usize,
    len: usize,
    base: usize,
    index: usize,
    count: u64,
}

/// Where an item is, as the table says it.
struct Place {
    /// What offsets count from: 0 the file, 1 `idat`, 2 another item.
    method: u64,
    /// In another file.
    is_elsewhere: bool,
    base: u64,
    extents: Vec<(u64, u64)>,
}

impl Table {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let version = fields.version()?;
        let widths = fields.number(2)?;
        let width = |shift: u32| usize::try_from(widths >> shift & 0xf).unwrap_or(0);
        let count = fields.number(if version < 2 { 2 } else { 4 })?;
        let index = if version == 0 { 0 } else { width(0) };
        Some(Self { version, offset: width(12), len: width(8), base: width(4), index, count })
    }

    /// `None` where the table breaks off.
    fn entry(&self, fields: &mut Fields<'_>, budget: &mut Budget) -> Result<Option<(u32, Place)>, InspectError> {
        budget.spend_part()?;
        let Some((id, mut place, count)) = self.head(fields) else { return Ok(None) };
        for _ in 0..count {
            budget.spend_part()?;
            let extent = fields.skip(self.index).and_then(|()| fields.number(self.offset)).zip(fields.number(self.len));
            let Some(extent) = extent else { return Ok(None) };
            place.extents.push(extent);
        }
        Ok(Some((id, place)))
    }

    fn head(&self, fields: &mut Fields<'_>) -> Option<(u32, Place, u64)> {
        let id = u32::try_from(fields.number(if self.version < 2 { 2 } else { 4 })?).ok()?;
        let method = if self.version == 0 { 0 } else { fields.number(2)? & 0xf };
        let is_elsewhere = fields.number(2)? != 0;
        let base = fields.number(self.base)?;
        let count = fields.number(2)?;
        Some((id, Place { method, is_elsewhere, base, extents: Vec::new() }, count))
    }
}

/// Fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(drop)
    }

    /// A number of up to eight bytes; one of none is zero.
    fn number(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len).filter(|bytes| bytes.len() <= 8)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A version, and flags that do not matter.
    fn version(&mut self) -> Option<u8> {
        let version = self.take(4)?;
        version.first().copied()
    }

    /// The content of the next box, if it is of this kind.
    fn part(&mut self, kind: [u8; 4]) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number(4)?).ok()?;
        let found = self.take(4)?;
        let content = self.take(len.checked_sub(8)?)?;
        (found == kind).then_some(content)
    }
}
