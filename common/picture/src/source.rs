//! Reading here and there in a file, through one small buffer.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;

/// Bytes that are read at once.
const BUFFER_LEN: usize = 64 * 1024;

/// A file, with some of its bytes at hand.
pub(crate) struct Source<R> {
    inner: R,
    len: u64,
    /// Where in the file the buffer begins.
    start: u64,
    buffer: Vec<u8>,
}

impl<R: Read + Seek> Source<R> {
    pub(crate) fn new(mut inner: R) -> io::Result<Self> {
        let len = inner.seek(SeekFrom::End(0))?;
        Ok(Self { inner, len, start: 0, buffer: Vec::new() })
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes from `at` that are at hand: at least one, except at the end of the file.
    pub(crate) fn window(&mut self, at: u64) -> io::Result<&[u8]> {
        self.peek(at, 1)
    }

    /// At least `count` bytes from `at`, fewer only at the end of the file. No more than the buffer holds can be asked for.
    pub(crate) fn peek(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        debug_assert!(count <= BUFFER_LEN, "more than the buffer holds");
        let end = self.start + self.buffer.len() as u64;
        let wanted = at.saturating_add(count as u64).min(self.len);
        if at < self.start || wanted > end {
            self.fill(at)?;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..).unwrap_or_default())
    }

    /// The bytes from `at`, `None` if the file ends before them.
    pub(crate) fn array<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.peek(at, N)?.first_chunk().copied())
    }

    /// The bytes of a range as far as the file has them; the caller knows that they are not too many.
    pub(crate) fn read(&mut self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (mut at, end) = (range.start, range.end.min(self.len));
        let mut bytes = Vec::new();
        while at < end {
            let window = self.window(at)?;
            let len = window.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            if len == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&window[..len]);
            at += len as u64;
        }
        Ok(bytes)
    }

    /// Where the first `needle` at or after `at` begins.
    pub(crate) fn find(&mut self, mut at: u64, needle: &[u8]) -> io::Result<Option<u64>> {
        let Some((first, rest)) = needle.split_first() else { return Ok(Some(at)) };
        loop {
            let window = self.window(at)?;
            if window.is_empty() {
                return Ok(None);
            }
            let Some(offset) = window.iter().position(|byte| byte == first) else {
                at += window.len() as u64;
                continue;
            };
            at += offset as u64;
            if self.peek(at + 1, rest.len())?.starts_with(rest) {
                return Ok(Some(at));
            }
            at += 1;
        }
    }

    fn fill(&mut self, at: u64) -> io::Result<()> {
        self.start = at;
        self.buffer.clear();
        if at < self.len {
            self.inner.seek(SeekFrom::Start(at))?;
            (&mut self.inner).take(BUFFER_LEN as u64).read_to_end(&mut self.buffer)?;
        }
        Ok(())
    }
}

/// A range of a file as a stream.
pub(crate) struct Section<'a, R> {
    pub(crate) source: &'a mut Source<R>,
    pub(crate) range: Range<u64>,
}

impl<R: Read + Seek> Read for Section<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end.saturating_sub(self.range.start)).unwrap_or(usize::MAX);
        let window = self.source.window(self.range.start)?;
        let len = window.len().min(into.len()).min(left);
        into[..len].copy_from_slice(&window[..len]);
        self.range.start += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn any_part_can_be_read_in_any_order() {
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * BUFFER_LEN).collect();
        let mut source = Source::new(Cursor::new(&bytes)).unwrap();
        let len = bytes.len();
        for at in [0, 5, BUFFER_LEN - 2, 2 * BUFFER_LEN, 1, len - 3, len, len + 9] {
            let expected = &bytes[at.min(len)..(at + 4).min(len)];
            assert_eq!(&source.peek(at as u64, 4).unwrap()[..expected.len()], expected, "{at}");
            assert_eq!(source.array::<4>(at as u64).unwrap().is_some(), expected.len() == 4);
            let read = source.read(at as u64..at as u64 + 100_000).unwrap();
            assert!(read == bytes[at.min(len)..(at + 100_000).min(len)]);
            let mut section = Vec::new();
            Section { source: &mut source, range: at as u64..at as u64 + 70_000 }.read_to_end(&mut section).unwrap();
            assert!(section == bytes[at.min(len)..(at + 70_000).min(len)]);
        }
    }

    #[test]
    fn what_lies_across_two_buffers_is_found() {
        for at in [0, 10, BUFFER_LEN - 3, BUFFER_LEN - 1, BUFFER_LEN, 2 * BUFFER_LEN - 2] {
            let mut bytes = vec![b'n'; 3 * BUFFER_LEN];
            bytes[at..at + 6].copy_from_slice(b"needle");
            let mut source = Source::new(Cursor::new(&bytes)).unwrap();
            assert_eq!(source.find(0, b"needle").unwrap(), Some(at as u64));
            assert_eq!(source.find(at as u64 + 1, b"needle").unwrap(), None);
        }
    }
}
