//! Objects in a folder of this machine: for one machine, or for replicas that share its disk.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt as _;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use super::spool::{Content, ContentBytes};
use super::{Area, CheckError, Object, ObjectId, StoreError};
use crate::config::DiskConfig;

/// Bytes that are read at a time: most pictures at once, each read being a way to another thread and back.
const CHUNK: usize = 256 * 1024;

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    config: DiskConfig,
}

impl Folder {
    pub(super) fn new(config: DiskConfig) -> Self {
        Self { config }
    }

    /// Where uploads wait for their end.
    pub(super) fn uploads(&self) -> PathBuf {
        self.config.tmp_location.clone()
    }

    /// As [`super::Objects::check`]: makes both folders, and moves a file from one to the other.
    pub(super) async fn check(&self) -> Result<(), CheckError> {
        let DiskConfig { location, tmp_location } = self.config.clone();
        let checked = spawn_blocking(move || {
            let wrong = |folder: &Path| {
                let folder = folder.to_owned();
                move |source| CheckError::Folder { folder, source }
            };
            fs::create_dir_all(&location).map_err(wrong(&location))?;
            fs::create_dir_all(&tmp_location).map_err(wrong(&tmp_location))?;
            let probe = NamedTempFile::with_prefix_in("check-", &tmp_location).map_err(wrong(&tmp_location))?;
            let name = probe.path().file_name().unwrap_or_default().to_owned();
            let moved = location.join(name);
            probe.persist(&moved).map_err(|error| wrong(&location)(error.error))?;
            fs::remove_file(&moved).map_err(wrong(&location))
        });
        checked.await.map_err(|error| CheckError::Unknown(StoreError::failed(error)))?
    }

    pub(super) async fn put(&self, id: ObjectId<'_>, content: Content) -> Result<(), StoreError> {
        let (target, uploads) = (self.path(id, Area::InUse), self.uploads());
        let stored = spawn_blocking(move || store(&target, &uploads, content.bytes)).await;
        stored.map_err(StoreError::failed)?.map_err(StoreError::from)
    }

    pub(super) async fn get(&self, id: ObjectId<'_>, range: Option<Range<u64>>) -> Result<Option<Object>, StoreError> {
        let path = self.path(id, Area::InUse);
        let opened = spawn_blocking(move || open(&path, range)).await.map_err(StoreError::failed)?;
        let Some(Opened { len, front, rest }) = present(opened)? else { return Ok(None) };
        let left = len - front.len() as u64;
        let front = stream::once(async move { Ok(front) });
        let bytes = if left == 0 {
            front.boxed()
        } else {
            let rest = tokio::fs::File::from_std(rest).take(left);
            front.chain(ReaderStream::with_capacity(rest, CHUNK)).boxed()
        };
        Ok(Some(Object { len, bytes }))
    }

    pub(super) async fn size(&self, id: ObjectId<'_>) -> Result<Option<u64>, StoreError> {
        let found = tokio::fs::metadata(self.path(id, Area::InUse)).await;
        Ok(present(found)?.map(|metadata| metadata.len()))
    }

    pub(super) async fn delete(&self, id: ObjectId<'_>, area: Area) -> Result<(), StoreError> {
        present(tokio::fs::remove_file(self.path(id, area)).await)?;
        Ok(())
    }

    pub(super) async fn move_object(&self, id: ObjectId<'_>, from: Area, to: Area) -> Result<bool, StoreError> {
        let (from, to) = (self.path(id, from), self.path(id, to));
        let moved = spawn_blocking(move || {
            fs::metadata(&from)?;
            make_folder_of(&to)?;
            fs::rename(&from, &to)?;
            sync_folder_of(&to)
        });
        let moved = moved.await.map_err(StoreError::failed)?;
        Ok(present(moved)?.is_some())
    }

    fn path(&self, id: ObjectId<'_>, area: Area) -> PathBuf {
        let location = match area {
            Area::InUse => self.config.location.clone(),
            Area::Quarantine => self.config.location.join("quarantine"),
        };
        // A DID has no slash and begins with `did:`, so it is a name, and no other than those of accounts.
        location.join(id.did.as_str()).join(id.cid.to_string())
    }
}

/// What is not there is no error.
fn present<T>(result: io::Result<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file under another name first: a crash leaves all of it or nothing.
fn store(target: &Path, uploads: &Path, bytes: ContentBytes) -> io::Result<()> {
    let file = match bytes {
        ContentBytes::File(file) => file,
        ContentBytes::Memory(bytes) => {
            let mut file = NamedTempFile::with_prefix_in("upload-", uploads)?;
            file.write_all(&bytes)?;
            file
        }
    };
    file.as_file().sync_all()?;
    make_folder_of(target)?;
    file.persist(target).map_err(|error| error.error)?;
    sync_folder_of(target)
}

/// Makes the folder that a file will be in.
fn make_folder_of(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    sync_folder_of(folder)
}

/// Lets a file's name survive a crash, too.
fn sync_folder_of(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A file, read as far as one chunk goes.
struct Opened {
    /// Bytes that were asked for.
    len: u64,
    front: Bytes,
    rest: File,
}

fn open(path: &Path, range: Option<Range<u64>>) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let range = range.unwrap_or(0..size);
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start))?;
    }
    let len = range.end.min(size).saturating_sub(range.start);
    let mut front = Vec::with_capacity(usize::try_from(len).unwrap_or(CHUNK).min(CHUNK));
    (&mut file).take(len.min(CHUNK as u64)).read_to_end(&mut front)?;
    Ok(Opened { len, front: front.into(), rest: file })
}
