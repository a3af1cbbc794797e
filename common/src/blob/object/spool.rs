//! Bytes on their way into the store: hashed as they pass, the first of them in memory, many in a file.

use std::fs::{self, Permissions};
use std::io::{self, Cursor, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atproto::data::{Cid, Codec};
use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::StoreError;
use super::reader::Reader;

/// Bytes of one upload that stay in memory: most pictures. What is longer goes to a file.
pub(super) const MEMORY_LIMIT: usize = 1 << 20;
/// Bytes of all uploads of this process that stay in memory. With that many at once, the others go to files.
const MEMORY_OF_ALL: usize = 64 << 20;
static MEMORY: Semaphore = Semaphore::const_new(MEMORY_OF_ALL);
/// Bytes at the beginning that are kept to tell the type.
const FRONT_LEN: usize = 8 * 1024;

/// Bytes of a file that are copied at once.
const COPY_LEN: usize = 128 * 1024;
/// How the names of files begin that are not to stay. The folder may be the system's, where others have theirs.
const PREFIX: &str = "rookery-blob-";
/// No upload that is under way leaves its file alone for so long.
const ABANDONED: Duration = Duration::from_hours(24);

/// Bytes that are arriving. What is dropped before its end leaves nothing behind.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    digest: Sha256,
    size: u64,
    memory: BytesMut,
    /// What uploads may have of the memory, and the part that these bytes have.
    all: &'static Semaphore,
    held: Option<SemaphorePermit<'static>>,
    spilled: Option<Spilled>,
}

/// A file with all bytes so far.
#[derive(Debug)]
struct Spilled {
    file: NamedTempFile,
    /// The same file.
    writer: File,
}

/// All bytes of a blob.
#[derive(Debug)]
pub struct Content {
    cid: Cid,
    size: u64,
    front: Bytes,
    pub(super) bytes: ContentBytes,
    /// Given back when this is dropped.
    _held: Option<SemaphorePermit<'static>>,
}

/// Where they are.
#[derive(Debug)]
pub(super) enum ContentBytes {
    Memory(Bytes),
    /// Gone when this is dropped.
    File(NamedTempFile),
}

impl Spool {
    /// Takes in bytes, if need be in a file in this folder.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self::sharing(&MEMORY, folder)
    }

    fn sharing(all: &'static Semaphore, folder: PathBuf) -> Self {
        let (digest, memory) = (Sha256::new(), BytesMut::new());
        Self { folder, digest, size: 0, memory, all, held: None, spilled: None }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If the disk fails, or is full.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.digest.update(piece);
        self.size += piece.len() as u64;
        if self.spilled.is_none() && self.memory.len() + piece.len() <= MEMORY_LIMIT && self.hold(piece.len()) {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        match &mut self.spilled {
            Some(spilled) => spilled.writer.write_all(piece).await?,
            None => self.spill(piece).await?,
        }
        Ok(())
    }

    /// How many came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first of them, enough to tell their type once they are there.
    pub fn front(&self) -> &[u8] {
        &self.memory[..self.memory.len().min(FRONT_LEN)]
    }

    /// Takes bytes of other content, which lie within it.
    pub(in crate::blob) async fn copy(&mut self, content: &Content, range: Range<u64>) -> Result<(), StoreError> {
        let file = match &content.bytes {
            ContentBytes::Memory(bytes) => {
                let index = |at| usize::try_from(at).map_err(StoreError::failed);
                return self.push(&bytes[index(range.start)?..index(range.end)?]).await;
            }
            ContentBytes::File(file) => file.reopen()?,
        };
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(range.start)).await?;
        let (mut section, mut buffer) = (file.take(range.end - range.start), BytesMut::with_capacity(COPY_LEN));
        while section.read_buf(&mut buffer).await? > 0 {
            self.push(&buffer).await?;
            buffer.clear();
        }
        Ok(())
    }

    /// Takes so many bytes more of what all uploads have; false if there are not as many left.
    fn hold(&mut self, len: usize) -> bool {
        let Some(more) = u32::try_from(len).ok().and_then(|len| self.all.try_acquire_many(len).ok()) else {
            return false;
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        true
    }

    /// The end of the bytes.
    ///
    /// # Errors
    /// As [`Spool::push`].
    pub async fn finish(self) -> Result<Content, StoreError> {
        let Self { folder: _, digest, size, memory, all: _, held, spilled } = self;
        let memory = memory.freeze();
        let bytes = match spilled {
            None => ContentBytes::Memory(memory.clone()),
            Some(Spilled { file, mut writer }) => {
                writer.flush().await?;
                ContentBytes::File(file)
            }
        };
        let front = memory.slice(..memory.len().min(FRONT_LEN));
        Ok(Content { cid: Cid::from_digest(Codec::Raw, digest.finalize().into()), size, front, bytes, _held: held })
    }

    /// Goes over to a file, with this piece.
    async fn spill(&mut self, piece: &[u8]) -> io::Result<()> {
        let folder = self.folder.clone();
        let (file, writer) = spawn_blocking(move || {
            let file = new_file(&folder)?;
            let writer = file.as_file().try_clone()?;
            Ok::<_, io::Error>((file, File::from_std(writer)))
        })
        .await??;
        let spilled = self.spilled.insert(Spilled { file, writer });
        spilled.writer.write_all(&self.memory).await?;
        spilled.writer.write_all(piece).await?;
        let mut front = BytesMut::from(&self.memory[..FRONT_LEN.min(self.memory.len())]);
        front.extend_from_slice(&piece[..(FRONT_LEN - front.len()).min(piece.len())]);
        self.memory = front;
        self.held = None;
        Ok(())
    }
}

/// A file under a name of its own, for whoever the system lets read what this server writes.
pub(super) fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// Tries whether files can be made in a folder, and removes those of a process that was killed.
pub(super) fn check_folder(folder: &Path) -> io::Result<()> {
    drop(new_file(folder)?);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let Ok(metadata) = entry.metadata() else { continue };
        let is_old = metadata.modified()?.elapsed().is_ok_and(|age| age > ABANDONED);
        if is_ours && metadata.is_file() && is_old {
            // Another server that starts may do the same.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

impl Content {
    /// The CID of the bytes.
    pub fn cid(&self) -> Cid {
        self.cid
    }

    /// How many they are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first of them, enough to tell their type.
    pub fn front(&self) -> &[u8] {
        &self.front
    }

    /// Opens the bytes for reading, which may block.
    pub(in crate::blob) fn open(&self) -> io::Result<Reader> {
        Ok(match &self.bytes {
            ContentBytes::Memory(bytes) => Reader::Memory(Cursor::new(bytes.clone())),
            ContentBytes::File(file) => Reader::File(file.reopen()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Clock;

    async fn spool(folder: &std::path::Path, bytes: &[u8], piece: usize) -> Content {
        let mut spool = Spool::new(folder.to_owned());
        for piece in bytes.chunks(piece) {
            spool.push(piece).await.unwrap();
        }
        spool.finish().await.unwrap()
    }

    #[tokio::test]
    async fn few_bytes_stay_in_memory_and_many_go_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for (size, in_file) in [(0, false), (1, false), (MEMORY_LIMIT, false), (MEMORY_LIMIT + 1, true)] {
            let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
            for piece in [60_000, size.max(1)] {
                let content = spool(folder.path(), &bytes, piece).await;
                assert_eq!((content.cid(), content.size()), (Cid::raw(&bytes), size as u64));
                assert_eq!(content.front(), &bytes[..FRONT_LEN.min(size)]);
                let stored = match &content.bytes {
                    ContentBytes::Memory(bytes) => bytes.to_vec(),
                    ContentBytes::File(file) => std::fs::read(file.path()).unwrap(),
                };
                assert_eq!((stored == bytes, matches!(content.bytes, ContentBytes::File(_))), (true, in_file));
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of them");
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path().to_owned());
        for _ in 0..3 {
            spool.push(&vec![1; MEMORY_LIMIT]).await.unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(spool);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::from(Clock::system().now());
        let (old, new) = (now - ABANDONED - Duration::from_mins(1), now);
        for (name, modified) in [("rookery-blob-a", old), ("rookery-blob-b", new), ("upload-c", old)] {
            fs::File::create(folder.path().join(name)).unwrap().set_modified(modified).unwrap();
        }
        check_folder(folder.path()).unwrap();
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        left.sort_unstable();
        assert_eq!(left, ["rookery-blob-b", "upload-c"]);
        assert!(check_folder(&folder.path().join("none")).is_err());
    }

    #[tokio::test]
    async fn many_uploads_at_once_go_to_files() {
        static SMALL: Semaphore = Semaphore::const_new(1500);
        let folder = tempfile::tempdir().unwrap();
        let piece = [7; 1000];
        let (mut first, mut second) =
            (Spool::sharing(&SMALL, folder.path().to_owned()), Spool::sharing(&SMALL, folder.path().to_owned()));
        for spool in [&mut first, &mut second] {
            spool.push(&piece).await.unwrap();
        }
        let content = first.finish().await.unwrap();
        assert!(matches!(content.bytes, ContentBytes::Memory(_)));
        assert_eq!(SMALL.available_permits(), 500, "as long as the bytes are there");
        drop(content);
        assert_eq!(SMALL.available_permits(), 1500);
        let content = second.finish().await.unwrap();
        assert_eq!(content.cid(), Cid::raw(&piece));
        assert!(matches!(content.bytes, ContentBytes::File(_)));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path().join("none"));
        spool.push(b"small").await.unwrap();
        assert!(matches!(spool.push(&vec![1; MEMORY_LIMIT]).await, Err(StoreError::Failed(_))));
    }
}
