//! A mail server that delivers to a folder: every mail becomes a file that any mail program opens.

mod session;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use session::{Mail, Session, Step};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A client that says nothing for this long is disconnected (RFC 5321, section 4.5.3.2.7).
const IDLE_LIMIT: Duration = Duration::from_mins(5);
/// Wait after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest line a client may send.
const LINE_LIMIT: u64 = 1_000_000;

/// A mail server of our own, in this process; it stops when this is dropped.
#[derive(Debug)]
pub struct MailCatcher {
    address: SocketAddr,
    folder: PathBuf,
    task: JoinHandle<()>,
}

/// Where mails go.
struct Folder {
    path: PathBuf,
    /// The number of the newest mail.
    last: AtomicUsize,
}

impl MailCatcher {
    /// Starts a server that keeps what it receives in `folder`, as `000001.eml`, `000002.eml`, …
    ///
    /// The envelope is in the header fields `Return-Path` and `X-Envelope-To`. A file appears only when it is complete.
    ///
    /// # Errors
    /// The folder cannot be made, or there is no free port.
    pub async fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let target = Arc::new(Folder { path: folder.to_owned(), last: AtomicUsize::new(newest_number(folder)?) });
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Too many open files, for instance.
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let target = Arc::clone(&target);
                // A client that breaks off is its own affair.
                tokio::spawn(async move { serve(stream, &target).await.ok() });
            }
        });
        Ok(Self { address, folder: folder.to_owned(), task })
    }

    /// The URL for `PDS_EMAIL_SMTP_URL`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// The folder with the mails.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for MailCatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Folder {
    /// Stores a mail: first under another name, so that nobody reads half of it.
    fn store(&self, mail: &Mail) -> Result<()> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let draft = self.path.join(format!("{number:06}.new"));
        fs::write(&draft, mail.to_eml())?;
        fs::rename(&draft, self.path.join(format!("{number:06}.eml")))?;
        Ok(())
    }
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

/// Serves one client until it quits.
async fn serve(mut stream: TcpStream, folder: &Folder) -> Result<()> {
    let (input, mut output) = stream.split();
    let mut input = BufReader::new(input);
    let mut session = Session::new();
    output.write_all(session::GREETING.as_bytes()).await?;
    loop {
        let mut line = Vec::new();
        timeout(IDLE_LIMIT, (&mut input).take(LINE_LIMIT).read_until(b'\n', &mut line)).await??;
        if !line.ends_with(b"\n") {
            bail!("the client broke off, or sent an endless line");
        }
        let reply = match session.step(&line) {
            Step::Silent => continue,
            Step::Reply(reply) => reply,
            Step::Deliver(mail) => match folder.store(&mail) {
                Ok(()) => "250 stored\r\n".to_owned(),
                Err(error) => format!("451 cannot store: {error}\r\n"),
            },
            Step::Close(reply) => return Ok(output.write_all(reply.as_bytes()).await?),
        };
        output.write_all(reply.as_bytes()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a client's side, and returns all that the server said.
    async fn converse(catcher: &MailCatcher, said: &str) -> String {
        let mut stream = TcpStream::connect(catcher.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    }

    #[tokio::test]
    async fn a_mail_becomes_a_file_and_numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let said = "EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n\
                    Subject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
        for number in 1..=2 {
            let catcher = MailCatcher::start(dir.path()).await.unwrap();
            let heard = converse(&catcher, said).await;
            assert!(heard.ends_with("250 stored\r\n221 bye\r\n"), "{heard}");
            let text = fs::read_to_string(dir.path().join(format!("{number:06}.eml"))).unwrap();
            assert_eq!(text, "Return-Path: <a@x.test>\r\nX-Envelope-To: <b@y.test>\r\nSubject: hi\r\n\r\n.dot\r\n");
        }
    }
}
