//! Where mails go.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use tokio::sync::watch;

use super::received::Received;
use super::session::Mail;

/// A folder of mails.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held while a mail is stored, so that numbers rise with the files.
    store: Mutex<()>,
    /// The number of the newest mail.
    newest: watch::Sender<usize>,
}

/// Mails as they arrive.
#[derive(Debug)]
pub struct Arrivals {
    path: PathBuf,
    seen: usize,
    newest: watch::Receiver<usize>,
}

impl Arrivals {
    /// The next mail; `None` once the server has stopped.
    pub async fn next(&mut self) -> Option<Received> {
        let seen = self.seen;
        self.newest.wait_for(|newest| *newest > seen).await.ok()?;
        self.seen += 1;
        Some(read(&self.path, self.seen).unwrap_or_default())
    }
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let newest = watch::Sender::new(newest_number(path)?);
        Ok(Self { path: path.to_owned(), store: Mutex::default(), newest })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn arrivals(&self) -> Arrivals {
        let newest = self.newest.subscribe();
        let seen = *newest.borrow();
        Arrivals { path: self.path.clone(), seen, newest }
    }

    /// All mails, once there are so many.
    pub(super) async fn until(&self, count: usize) -> Result<Vec<Received>> {
        let mut newest = self.newest.subscribe();
        let newest = *newest.wait_for(|newest| *newest >= count).await?;
        (1..=newest).map(|number| read(&self.path, number)).collect()
    }

    /// Stores a mail, and says what the client is to hear.
    pub(super) fn deliver(&self, mail: &Mail) -> String {
        match self.store(mail) {
            Ok(()) => "250 stored\r\n".to_owned(),
            Err(error) => format!("451 cannot store: {error}\r\n"),
        }
    }

    /// First under another name, so that nobody reads half of it.
    fn store(&self, mail: &Mail) -> Result<()> {
        let _alone = self.store.lock();
        let number = *self.newest.borrow() + 1;
        let draft = self.path.join(format!("{number:06}.new"));
        fs::write(&draft, mail.to_eml())?;
        fs::rename(&draft, file(&self.path, number))?;
        self.newest.send_replace(number);
        Ok(())
    }
}

fn file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:06}.eml"))
}

fn read(folder: &Path, number: usize) -> Result<Received> {
    Ok(Received::parse(fs::read(file(folder, number))?))
}

/// The highest number of a mail in `folder`; 0 if there is none.
fn newest_number(folder: &Path) -> Result<usize> {
    let mut newest = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        newest = newest.max(number.unwrap_or(0));
    }
    Ok(newest)
}
