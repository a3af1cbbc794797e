//! The folder that keeps a stack's state between runs.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::postgres::Postgres;
use super::secret;

/// Marks a folder as ours, and is locked while a stack uses it.
const LOCK: &str = "rookery.lock";
/// Where Postgres' files go if Postgres cannot reach the folder.
const REACHABLE_PARENT: &str = "/var/lib/rookery-development";
/// The secrets of a server, each 32 random bytes in hexadecimal.
///
/// That a random number is no valid secp256k1 key has a chance of 2⁻¹²⁸.
const SECRETS: [&str; 5] = [
    "PDS_ADMIN_PASSWORD",
    "PDS_DPOP_SECRET",
    "PDS_JWT_SECRET",
    "PDS_KEY_ENCRYPTION_KEY",
    "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX",
];

/// A locked data folder.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    postgres: PathBuf,
    _lock: File,
    temporary: Option<TempDir>,
}

impl DataFolder {
    /// Opens `root`, and makes it at the first call.
    ///
    /// # Errors
    /// It cannot be made, or another stack uses it.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        // Postgres' user may pass through; all that is in it is closed to others.
        fs::set_permissions(root, Permissions::from_mode(0o711))?;
        let root = root.canonicalize()?;
        let lock = take_lock(&root)?;
        for name in ["blobs", "log", "mail", "plc", "redis"] {
            let dir = root.join(name);
            fs::create_dir_all(&dir)?;
            fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        }
        Ok(Self { postgres: postgres_folder(&root), root, _lock: lock, temporary: None })
    }

    /// A new folder that is removed in the end.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn temporary() -> Result<Self> {
        let dir = Postgres::temporary_folder("rookery-stack-")?;
        let folder = Self::open(dir.path())?;
        Ok(Self { temporary: Some(dir), ..folder })
    }

    /// Leaves a temporary folder where it is when this is dropped; [`DataFolder::remove`] removes it.
    pub fn keep(&mut self) {
        if let Some(folder) = self.temporary.take() {
            // It gives the path, which we know.
            let _ = folder.keep();
        }
    }

    /// Removes everything that stacks kept in `root`.
    ///
    /// # Errors
    /// A stack uses it, or it is no data folder.
    pub fn remove(root: &Path) -> Result<()> {
        let root = match root.canonicalize() {
            Ok(root) => root,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !root.join(LOCK).exists() {
            bail!("{} is not a data folder of Rookery", root.display());
        }
        let _lock = take_lock(&root)?;
        for dir in [postgres_folder(&root), root] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        // Only if it is empty; another clone's data may be in it.
        let _ = fs::remove_dir(REACHABLE_PARENT);
        Ok(())
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Blob bytes.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Mails the catcher received.
    pub fn mail(&self) -> PathBuf {
        self.root.join("mail")
    }

    /// The PLC directory's log.
    pub fn plc(&self) -> PathBuf {
        self.root.join("plc")
    }

    /// Postgres' files. Outside of this folder if Postgres cannot reach it.
    pub fn postgres(&self) -> &Path {
        &self.postgres
    }

    /// Redis' files.
    pub fn redis(&self) -> PathBuf {
        self.root.join("redis")
    }

    /// The log file of one process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.root.join("log").join(format!("{process}.log"))
    }

    /// The file with the secrets of this stack, as `NAME=value` lines.
    pub fn secrets_file(&self) -> PathBuf {
        self.root.join("secrets.env")
    }

    /// The secrets by the name of their variable. Those that are not yet there are made.
    ///
    /// # Errors
    /// The file can be neither read nor written.
    pub fn secrets(&self) -> Result<BTreeMap<String, String>> {
        let path = self.secrets_file();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let line = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut secrets: BTreeMap<String, String> = text.lines().filter_map(line).collect();
        for name in SECRETS {
            secrets.entry(name.to_owned()).or_insert_with(secret::generate);
        }
        let lines: Vec<String> = secrets.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        if lines.concat() != text {
            secret::write_private(&path, &lines.concat())?;
        }
        Ok(secrets)
    }
}

/// Locks the folder; the kernel lets go of the lock when this process ends, however it ends.
fn take_lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("{} is in use: another stack is running", root.display());
    }
    Ok(file)
}

fn postgres_folder(root: &Path) -> PathBuf {
    if Postgres::can_reach(root) {
        root.join("postgres")
    } else {
        // The path as a name, so that two clones never share a database.
        Path::new(REACHABLE_PARENT).join(root.to_string_lossy().replace('/', "%"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_new_names_are_added() {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(dir.path()).unwrap();
        fs::write(folder.secrets_file(), "PDS_JWT_SECRET=kept\nOTHER=also kept\n").unwrap();
        let secrets = folder.secrets().unwrap();
        assert_eq!((secrets["PDS_JWT_SECRET"].as_str(), secrets["OTHER"].as_str()), ("kept", "also kept"));
        assert_eq!(secrets["PDS_KEY_ENCRYPTION_KEY"].len(), 64);
        assert_eq!(folder.secrets().unwrap(), secrets);
        let mode = fs::metadata(folder.secrets_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_in_use_is_neither_shared_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        let folder = DataFolder::open(&root).unwrap();
        assert!(DataFolder::open(&root).is_err());
        assert!(DataFolder::remove(&root).is_err());
        drop(folder);
        DataFolder::remove(&root).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn only_data_folders_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataFolder::remove(dir.path()).is_err());
        assert!(dir.path().exists());
    }
}
