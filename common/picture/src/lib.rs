//! What pictures say of the people who took them, and how to take it out.
//!
//! A picture from a phone usually says where it was taken, when, and with which device. [`inspect`] reads the parts of a
//! file that hold such things, whether they name a place, and which bytes go if they are removed. It decodes no picture:
//! what is shown stays as it is, bit by bit.
//!
//! | | Where metadata is | Removed by |
//! |---|---|---|
//! | JPEG | APP1 (Exif, XMP and its extension), APP13 (IPTC), comments, other pictures and films behind the end | leaving it out |
//! | PNG | `eXIf`, text chunks (XMP, profiles in hexadecimal), `tIME` | leaving it out |
//! | WebP | `EXIF` and `XMP` chunks, also of frames | leaving it out |
//! | HEIC, AVIF | items `Exif`, `mime` and `uri `; all boxes that pictures do not need; attached films; what follows the boxes | overwriting it, since everything else in such a file is found by its position |
//!
//! # A place
//! Positions in Exif and XMP, and places by name in IPTC and its XMP form. Not what makers of cameras hide in formats of
//! their own (maker notes), nor what somebody writes into a caption.
//!
//! # What stays
//! What a viewer needs: colour profiles, animation, resolution, and of Exif the orientation. And who claims a picture
//! says so on purpose: artist and copyright of Exif stay, author and copyright of PNG. All else that is not known to be
//! needed goes, such as thumbnails, which may show what was cut off, and whatever follows the picture in its file. Of HEIC and
//! AVIF the thumbnails stay: they are pictures like the others, and so are all items that are no text.
//!
//! # What cannot be looked into
//! Encrypted metadata, and such as is compressed in a way that we do not know, may name a place: [`Inspection::opaque`]. It is
//! removed without being read. What has no form that we know, and no picture needs, is searched for Exif and XMP. Between the
//! items of HEIC and AVIF, in `mdat`, nobody looks.
//!
//! # Bytes from strangers
//! Nothing is believed: lengths end where the file does, and a file is read like the lenient viewers do, beyond garbage and
//! up to where it breaks off. So a damaged picture is judged by what can be found in it. What would take too much memory
//! or time, such as a text that inflates without end, is [`InspectError::Unreadable`]. Memory does not grow with the file.
//!
//! We walk through the formats ourselves, though there are crates for each of them: those want the whole file in memory and
//! stop at the first fault, where viewers go on.

mod edit;
mod exif;
mod heif;
mod iptc;
mod jpeg;
mod movie;
mod png;
mod search;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod webp;
mod xmp;

use std::io::{self, Read, Seek};
use std::ops::Range;

pub use edit::Piece;

use edit::Edits;
use exif::Exif;
use source::Source;

/// Metadata that is read of one file, in bytes, what is compressed counted unpacked.
const METADATA_LIMIT: u64 = 32 << 20;
/// Largest part that is read as a whole, in bytes. Exif is rarely larger than 64 kB.
const BLOCK_LIMIT: u64 = 1 << 20;
/// Small parts that are looked at, one by one: boxes, directories, items.
const PART_LIMIT: u32 = 20_000;
/// Blocks of Exif, and films, that are found by searching. Each may be all that follows, so their number is bounded, too.
const FOUND_LIMIT: u32 = 64;

/// A kind of picture that can be inspected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// JPEG, as in JFIF and Exif files.
    Jpeg,
    /// PNG, animated or not.
    Png,
    /// WebP.
    WebP,
    /// HEIC, HEIF and AVIF: pictures in ISO base media files.
    Heif,
}

impl Format {
    /// The format of a file that begins like `front`, of which some dozens of bytes are enough.
    pub fn of(front: &[u8]) -> Option<Self> {
        if front.starts_with(jpeg::START) {
            Some(Self::Jpeg)
        } else if front.starts_with(png::SIGNATURE) {
            Some(Self::Png)
        } else if webp::begins(front) {
            Some(Self::WebP)
        } else {
            heif::begins(front).then_some(Self::Heif)
        }
    }
}

/// What was found in a picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    location: bool,
    opaque: Option<&'static str>,
    pieces: Option<Vec<Piece>>,
}

impl Inspection {
    /// Whether it names the place where it was taken, or that it shows.
    pub fn carries_location(&self) -> bool {
        self.location
    }

    /// What it has, in the words of an [`InspectError`], that may name a place and cannot be looked into.
    pub fn opaque(&self) -> Option<&'static str> {
        self.opaque
    }

    /// The file without personal metadata, from its beginning to its end. `None` if it has none to remove.
    pub fn stripped(self) -> Option<Vec<Piece>> {
        self.pieces
    }
}

/// Why a picture could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It would take too much memory or time; no camera or editor writes such a file.
    #[error("the picture has {0}")]
    Unreadable(&'static str),
    /// The file cannot be read.
    #[error("cannot read the picture")]
    Io(#[from] io::Error),
}

/// Inspects a picture, in time and memory as the [crate] says. `None` if the bytes are no picture of a known format.
pub fn inspect(file: impl Read + Seek) -> Result<Option<Inspection>, InspectError> {
    let mut picture = Picture::new(Source::new(file)?);
    let Some(format) = Format::of(picture.source.peek(0, 256)?) else { return Ok(None) };
    match format {
        Format::Jpeg => jpeg::inspect(&mut picture)?,
        Format::Png => png::inspect(&mut picture)?,
        Format::WebP => webp::inspect(&mut picture)?,
        Format::Heif => heif::inspect(&mut picture)?,
    }
    let pieces = picture.edits.into_pieces(picture.source.len())?;
    Ok(Some(Inspection { location: picture.location, opaque: picture.opaque, pieces }))
}

/// A picture that is being inspected.
struct Picture<R> {
    source: Source<R>,
    location: bool,
    opaque: Option<&'static str>,
    edits: Edits,
    budget: Budget,
}

/// How much may still be read.
struct Budget {
    bytes: u64,
    parts: u32,
    found: u32,
}

impl Budget {
    const FULL: Self = Self { bytes: METADATA_LIMIT, parts: PART_LIMIT, found: FOUND_LIMIT };

    /// Takes bytes of metadata.
    fn spend(&mut self, bytes: u64) -> Result<(), InspectError> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or(InspectError::Unreadable("too much metadata"))?;
        Ok(())
    }

    /// Takes one small part.
    fn spend_part(&mut self) -> Result<(), InspectError> {
        let left = self.parts.checked_sub(1);
        self.parts = left.ok_or(InspectError::Unreadable("too many parts"))?;
        Ok(())
    }

    /// Takes one block of Exif that was found by searching.
    fn spend_found(&mut self) -> Result<(), InspectError> {
        let left = self.found.checked_sub(1);
        self.found = left.ok_or(InspectError::Unreadable("too many parts"))?;
        Ok(())
    }
}

impl<R: Read + Seek> Picture<R> {
    fn new(source: Source<R>) -> Self {
        Self { source, location: false, opaque: None, edits: Edits::default(), budget: Budget::FULL }
    }

    /// Reads a part as a whole.
    fn block(&mut self, range: Range<u64>) -> Result<Vec<u8>, InspectError> {
        let len = range.end.min(self.source.len()).saturating_sub(range.start);
        if len > BLOCK_LIMIT {
            return Err(InspectError::Unreadable("a part of metadata that is too large"));
        }
        self.budget.spend(len)?;
        Ok(self.source.read(range)?)
    }

    /// Reads a part as Exif and notes a location in it.
    fn exif(&mut self, range: Range<u64>) -> Result<Exif, InspectError> {
        let block = self.block(range)?;
        let exif = Exif::parse(&block);
        self.location |= exif.location;
        Ok(exif)
    }

    /// Reads a part as XMP and notes a location in it.
    fn xmp(&mut self, range: Range<u64>) -> Result<(), InspectError> {
        let mut scanner = xmp::Scanner::default();
        self.xmp_part(range, &mut scanner)?;
        self.location |= scanner.finish();
        Ok(())
    }

    /// Puts bytes in the place of a part, if they are not there already; without any leaves it out.
    fn replace(&mut self, range: Range<u64>, bytes: Option<Vec<u8>>) -> Result<(), InspectError> {
        let bytes = bytes.unwrap_or_default();
        let len = range.end - range.start;
        if bytes.len() as u64 == len && self.source.read(range.clone())? == bytes {
            return Ok(());
        }
        self.edits.replace(range, bytes)
    }

    /// Reads a part of an XMP packet.
    fn xmp_part(&mut self, range: Range<u64>, scanner: &mut xmp::Scanner) -> Result<(), InspectError> {
        self.budget.spend(range.end.min(self.source.len()).saturating_sub(range.start))?;
        self.scan(range, scanner)
    }

    /// Reads a part of what may have XMP in it.
    fn scan(&mut self, range: Range<u64>, scanner: &mut xmp::Scanner) -> Result<(), InspectError> {
        let (mut at, end) = (range.start, range.end.min(self.source.len()));
        while at < end {
            let window = self.source.window(at)?;
            let len = window.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            if len == 0 {
                break;
            }
            scanner.push(&window[..len]);
            at += len as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
