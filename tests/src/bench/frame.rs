//! Reads from a frame of the event stream what the benchmark needs, and skips the rest unseen: verifying events is the
//! work of a consumer, whose time is not what is measured here.

/// What matters of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Glance<'a> {
    /// The header's `op`: 1 for an event, -1 for an error.
    pub(crate) op: i64,
    /// The event's number; 0 if it has none.
    pub(crate) seq: i64,
    /// The DID of the repository that a commit changes.
    pub(crate) repo: Option<&'a str>,
    /// The path of the first operation of a commit.
    pub(crate) path: Option<&'a str>,
}

/// Looks at a frame; `None` if it is no frame of DAG-CBOR.
pub(crate) fn glance(frame: &[u8]) -> Option<Glance<'_>> {
    let mut scan = Scan(frame);
    let mut found = Glance::default();
    for _ in 0..scan.length(MAP)? {
        match scan.text()? {
            "op" => found.op = scan.integer()?,
            _ => scan.skip()?,
        }
    }
    for _ in 0..scan.length(MAP)? {
        match scan.text()? {
            "seq" => found.seq = scan.integer()?,
            "repo" => found.repo = Some(scan.text()?),
            "ops" => found.path = scan.paths()?.first().copied(),
            _ => scan.skip()?,
        }
    }
    Some(found)
}

/// Major types of CBOR.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// The bytes that are still to be read.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Major type and argument of the next item.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = self.take(1)?[0];
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            // One, two, four or eight bytes.
            size @ 24..=27 => self.take(1 << (size - 24))?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
            _ => return None,
        };
        Some((first >> 5, argument))
    }

    /// The length of an item that must be of this type.
    fn length(&mut self, major: u8) -> Option<u64> {
        self.head().filter(|head| head.0 == major).map(|head| head.1)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.length(TEXT)?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn integer(&mut self) -> Option<i64> {
        match self.head()? {
            (UNSIGNED, value) => i64::try_from(value).ok(),
            (NEGATIVE, value) => i64::try_from(value).ok().map(|value| -1 - value),
            _ => None,
        }
    }

    /// The paths of a list of operations.
    fn paths(&mut self) -> Option<Vec<&'a str>> {
        let mut paths = Vec::new();
        for _ in 0..self.length(ARRAY)? {
            for _ in 0..self.length(MAP)? {
                match self.text()? {
                    "path" => paths.push(self.text()?),
                    _ => self.skip()?,
                }
            }
        }
        Some(paths)
    }

    fn skip(&mut self) -> Option<()> {
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            let (major, argument) = self.head()?;
            match major {
                BYTES | TEXT => _ = self.take(usize::try_from(argument).ok()?)?,
                ARRAY => left = left.checked_add(argument)?,
                MAP => left = left.checked_add(argument.checked_mul(2)?)?,
                TAG => left = left.checked_add(1)?,
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use atproto::event;

    use super::*;

    /// A commit as CBOR, with more than the benchmark looks at.
    const COMMIT: &[u8] = b"\xa2\x61t\x67#commit\x62op\x01\
        \xa6\x63ops\x82\xa3\x63cid\xd8\x2a\x43\x00\x01\x02\x64path\x63a/b\x66action\x66create\xa1\x64path\x63c/d\
        \x63seq\x19\x01\x00\x64time\xfb\x3f\xf0\0\0\0\0\0\0\x64repo\x65did:a\x65since\xf6\x66blocks\x58\x02ab";

    #[test]
    fn number_repository_and_path_are_found() {
        assert_eq!(glance(COMMIT), Some(Glance { op: 1, seq: 256, repo: Some("did:a"), path: Some("a/b") }));
    }

    #[test]
    fn frames_of_ours_are_understood() {
        let error = event::error_frame("FutureCursor", Some("too far"));
        assert_eq!(glance(&error), Some(Glance { op: -1, seq: 0, repo: None, path: None }));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for length in 0..COMMIT.len() {
            assert_eq!(glance(&COMMIT[..length]), None, "{length} bytes");
        }
    }
}
