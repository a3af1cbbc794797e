//! Objects in a folder of this machine: for one machine, or for replicas that share its disk.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use atproto::syntax::Did;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Sender;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use super::list::{Listed, PAGE, Page};
use super::spool::{Content, ContentBytes, check_folder, new_file};
use super::{Area, CheckError, OBEYED, Object, ObjectId, StoreError};
use crate::clock::Clock;
use crate::config::DiskConfig;

/// Bytes that are read at a time: most pictures at once, each read being a way to another thread and back.
const CHUNK: usize = 256 * 1024;
/// The folder of what is taken down, below that of the others.
const QUARANTINE: &str = "quarantine";
/// How long to wait for an account's folder. Whoever holds it does so for one call of the system, unless it stands still.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

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
            if !location.exists() {
                // It may be new, or the disk that it is on may not be there.
                tracing::warn!(folder = %location.display(), "there was no folder for blobs; making one");
            }
            fs::create_dir_all(location.join(QUARANTINE)).map_err(wrong(&location))?;
            fs::create_dir_all(&tmp_location).map_err(wrong(&tmp_location))?;
            check_folder(&tmp_location).map_err(wrong(&tmp_location))?;
            let probe = new_file(&tmp_location).map_err(wrong(&tmp_location))?;
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

    pub(super) async fn get(
        &self,
        id: ObjectId<'_>,
        area: Area,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError> {
        let path = self.path(id, area);
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

    pub(super) async fn size(&self, id: ObjectId<'_>, area: Area) -> Result<Option<u64>, StoreError> {
        let found = tokio::fs::metadata(self.path(id, area)).await;
        Ok(present(found)?.map(|metadata| metadata.len()))
    }

    pub(super) async fn delete(
        &self,
        id: ObjectId<'_>,
        area: Area,
        looked_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let path = self.path(id, area);
        let deleted = spawn_blocking(move || delete(&path, looked_at)).await.map_err(StoreError::failed)?;
        present(deleted)?;
        Ok(())
    }

    pub(super) async fn copy(&self, id: ObjectId<'_>, from: Area, to: Area) -> Result<bool, StoreError> {
        let (from, to, uploads) = (self.path(id, from), self.path(id, to), self.uploads());
        let copied = spawn_blocking(move || copy(&from, &to, &uploads)).await.map_err(StoreError::failed)?;
        Ok(present(copied)?.is_some())
    }

    /// Sends all objects in pages, until nobody listens any more.
    pub(super) fn list(&self, pages: Sender<Result<Page, StoreError>>) {
        let DiskConfig { location, tmp_location } = self.config.clone();
        spawn_blocking(move || {
            let mut walk = Walk { pages, page: Page::default(), skipped: [location.join(QUARANTINE), tmp_location] };
            let walked = walk.folder(&location).and_then(|()| walk.folder(&location.join(QUARANTINE)));
            let last = match walked {
                Ok(()) => Ok(walk.page),
                // Also if nobody listens; then nobody hears of this either.
                Err(error) => Err(error.into()),
            };
            let _ = walk.pages.blocking_send(last);
        });
    }

    fn path(&self, id: ObjectId<'_>, area: Area) -> PathBuf {
        let location = match area {
            Area::InUse => self.config.location.clone(),
            Area::Quarantine => self.config.location.join(QUARANTINE),
        };
        // A DID has no slash and begins with `did:`, so it is a name, and no other than those of accounts.
        location.join(id.did.as_str()).join(id.cid.to_string())
    }
}

/// What is not there is no error.
fn present<T>(result: io::Result<T>) -> Result<Option<T>, StoreError> {
    Ok(found(result)?)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file under another name first: a crash leaves all of it or nothing.
fn store(target: &Path, uploads: &Path, bytes: ContentBytes) -> io::Result<()> {
    let file = match bytes {
        ContentBytes::File(file) => file,
        ContentBytes::Memory(bytes) => {
            let mut file = new_file(uploads)?;
            file.write_all(&bytes)?;
            file
        }
    };
    file.as_file().sync_all()?;
    make_folder_of(target)?;
    let held = hold_folder_of(target, File::try_lock_shared)?;
    file.persist(target).map_err(|error| error.error)?;
    drop(held);
    sync_folder_of(target)
}

/// Removes a file, unless it is too late: see [`super`].
fn delete(path: &Path, looked_at: DateTime<Utc>) -> io::Result<()> {
    let _held = hold_folder_of(path, File::try_lock)?;
    if Clock::system().now() > looked_at + OBEYED {
        return Err(io::Error::new(ErrorKind::TimedOut, "it is too late to delete the file"));
    }
    // Whoever removed it before may not have come to this.
    found(fs::remove_file(path))?;
    sync_folder_of(path)
}

/// Holds the folder that a file is in, until what it gives is dropped: alone, or together with others who put files there.
///
/// A file system that knows no such locks does without; then what stands between a late deletion and a new file is
/// the clock alone.
fn hold_folder_of(file: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<File>> {
    let Some(folder) = file.parent() else { return Ok(None) };
    let (folder, started) = (File::open(folder)?, Instant::now());
    loop {
        match lock(&folder) {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
}

/// Gives a file another name as well. Nobody ever writes into a file that has its name, so both may share their bytes; where
/// the file system knows no such names, they are copied.
fn copy(from: &Path, to: &Path, uploads: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    make_folder_of(to)?;
    let held = hold_folder_of(to, File::try_lock_shared)?;
    match fs::hard_link(from, to) {
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {}
        Err(_) => {
            drop(held);
            let mut file = new_file(uploads)?;
            io::copy(&mut source, &mut file)?;
            file.as_file().sync_all()?;
            let _held = hold_folder_of(to, File::try_lock_shared)?;
            file.persist(to).map_err(|error| error.error)?;
        }
        Ok(()) => {}
    }
    // Whoever deleted it meanwhile had a reason.
    fs::metadata(to)?;
    sync_folder_of(to)
}

/// A walk through all objects.
struct Walk {
    pages: Sender<Result<Page, StoreError>>,
    page: Page,
    skipped: [PathBuf; 2],
}

impl Walk {
    /// Goes through the accounts' folders in one.
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        for entry in entries(folder)? {
            let path = entry?.path();
            if self.skipped.contains(&path) {
                continue;
            }
            match name(&path).and_then(|name| name.parse::<Did>().ok()) {
                Some(did) => self.account(&did, &path)?,
                None => self.page.foreign += 1,
            }
        }
        Ok(())
    }

    fn account(&mut self, did: &Did, folder: &Path) -> io::Result<()> {
        for entry in entries(folder)? {
            let path = entry?.path();
            let Some(cid) = name(&path).and_then(|name| name.parse().ok()) else {
                self.page.foreign += 1;
                continue;
            };
            // Deleted while we looked.
            let Some(metadata) = found(fs::metadata(&path))? else { continue };
            let modified = metadata.modified()?.into();
            self.page.objects.push(Listed { did: did.clone(), cid, size: metadata.len(), modified });
            if self.page.objects.len() >= PAGE {
                let page = std::mem::take(&mut self.page);
                self.pages.blocking_send(Ok(page)).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

/// What is in a folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    Ok(found(fs::read_dir(folder))?.into_iter().flatten())
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Makes the folder that a file will be in.
fn make_folder_of(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder)?;
    // Whoever made it may not have come to this.
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
