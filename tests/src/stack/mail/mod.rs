//! A mail server that delivers to a folder: every mail becomes a file that any mail program opens.

mod folder;
mod received;
mod session;
mod tls;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
pub use folder::Arrivals;
use folder::Folder;
pub use received::Received;
use session::{Session, Step, Terms};
use tls::Identity;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// A client that says nothing for this long is disconnected (RFC 5321, section 4.5.3.2.7).
const IDLE_LIMIT: Duration = Duration::from_mins(5);
/// How often to look whether a fault has struck.
const FAULT_POLL: Duration = Duration::from_millis(5);
/// Wait after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest line a client may send.
const LINE_LIMIT: u64 = 1_000_000;

/// A mail server of our own, in this process; it stops when this is dropped.
#[derive(Debug)]
pub struct MailCatcher {
    address: SocketAddr,
    scheme: &'static str,
    login: Option<(String, String)>,
    folder: Arc<Folder>,
    certificate: Option<PathBuf>,
    server: Arc<Server>,
    task: JoinHandle<()>,
}

/// How a mail server behaves. By default it takes everything from everybody, without encryption, on any free port.
#[derive(Debug, Default)]
pub struct Manners {
    /// The port; 0 for a free one.
    pub port: u16,
    /// How it encrypts.
    pub encryption: Encryption,
    /// The user name and password without which it takes no mail.
    pub login: Option<(String, String)>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// How a mail server encrypts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Encryption {
    /// Not at all.
    #[default]
    None,
    /// Once the client asks for it.
    StartTls,
    /// From the start.
    Implicit,
}

/// Something that goes wrong at a command.
#[derive(Debug)]
pub struct Fault {
    verb: &'static str,
    how: Mishap,
    left: AtomicUsize,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// This is answered instead.
    Answer(&'static str),
    /// The server hangs up without an answer.
    HangUp,
    /// The server does what it was told, and hangs up without an answer.
    LoseAnswer,
    /// The server says nothing.
    Silence,
}

impl Fault {
    /// Something that goes wrong the first `times` times at a command; at `.` when a mail's text has come.
    pub fn new(verb: &'static str, how: Mishap, times: usize) -> Self {
        Self { verb, how, left: AtomicUsize::new(times) }
    }

    fn strike(&self, verb: &str) -> Option<Mishap> {
        let has_left = || self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        (self.verb == verb && has_left()).then_some(self.how)
    }
}

/// What all conversations share.
#[derive(Debug)]
struct Server {
    terms: Terms,
    encryption: Encryption,
    identity: Option<Identity>,
    faults: Vec<Fault>,
    folder: Arc<Folder>,
}

impl MailCatcher {
    /// Starts a server that keeps what it receives in `folder`, as `000001.eml`, `000002.eml`, …
    ///
    /// The envelope is in the header fields `Return-Path` and `X-Envelope-To`. A file appears only when it is complete.
    ///
    /// # Errors
    /// The folder cannot be made, or there is no free port.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, Manners::default()).await
    }

    /// As [`MailCatcher::start`], with manners. A server that encrypts has a certificate for `localhost` in `folder`.
    ///
    /// # Errors
    /// As [`MailCatcher::start`].
    pub async fn start_with(folder: &Path, manners: Manners) -> Result<Self> {
        let Manners { port, encryption, login, faults } = manners;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let certificate = (encryption != Encryption::None).then(|| folder.join("certificate.pem"));
        let identity = certificate.as_deref().map(Identity::create).transpose()?;
        let terms = Terms { start_tls: encryption == Encryption::StartTls, login: login.clone() };
        let folder = Arc::new(Folder::open(folder)?);
        let server = Arc::new(Server { terms, encryption, identity, faults, folder: Arc::clone(&folder) });
        let scheme = if encryption == Encryption::Implicit { "smtps" } else { "smtp" };
        let task = tokio::spawn(listen(listener, Arc::clone(&server)));
        Ok(Self { address, scheme, login, folder, certificate, server, task })
    }

    /// The URL for `PDS_EMAIL_SMTP_URL`.
    pub fn url(&self) -> String {
        let login = self.login.as_ref().map(|(user, password)| format!("{user}:{password}@")).unwrap_or_default();
        // Certificates are for names.
        format!("{}://{login}localhost:{}", self.scheme, self.address.port())
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The folder with the mails.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file with the certificate, for `SSL_CERT_FILE`; `None` for a server that does not encrypt.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// Returns once all has gone wrong that was to.
    pub async fn after_faults(&self) {
        while self.server.faults.iter().any(|fault| fault.left.load(Ordering::SeqCst) > 0) {
            sleep(FAULT_POLL).await;
        }
    }

    /// The mails that arrive from now on.
    pub fn arrivals(&self) -> Arrivals {
        self.folder.arrivals()
    }

    /// All mails, the oldest first, once there are so many.
    ///
    /// # Errors
    /// One cannot be read.
    pub async fn until(&self, count: usize) -> Result<Vec<Received>> {
        self.folder.until(count).await
    }
}

impl Drop for MailCatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes connections; they end with it.
async fn listen(listener: TcpListener, server: Arc<Server>) {
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                // A client that breaks off is its own affair.
                clients.spawn(async move { server.serve(stream).await.ok() });
            }
            // Too many open files, for instance.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl Server {
    /// Serves one client until it quits.
    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        match &self.identity {
            Some(identity) if self.encryption == Encryption::Implicit => {
                let stream = identity.accept(stream).await?;
                self.converse(stream, self.terms.clone(), true).await.map(drop)
            }
            Some(identity) => {
                if self.converse(&mut stream, self.terms.clone(), true).await? {
                    let stream = identity.accept(stream).await?;
                    let terms = Terms { start_tls: false, ..self.terms.clone() };
                    self.converse(stream, terms, false).await?;
                }
                Ok(())
            }
            None => self.converse(stream, self.terms.clone(), true).await.map(drop),
        }
    }

    /// Converses until the client quits, or true, wants to encrypt.
    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin, terms: Terms, greet: bool) -> Result<bool> {
        let mut stream = BufReader::new(stream);
        let mut session = Session::new(terms);
        if greet {
            stream.write_all(session::GREETING.as_bytes()).await?;
            stream.flush().await?;
        }
        loop {
            let mut line = Vec::new();
            timeout(IDLE_LIMIT, (&mut stream).take(LINE_LIMIT).read_until(b'\n', &mut line)).await??;
            if !line.ends_with(b"\n") {
                bail!("the client broke off, or sent an endless line");
            }
            let verb = session.verb(&line);
            let mishap = verb.and_then(|verb| self.faults.iter().find_map(|fault| fault.strike(&verb)));
            let (reply, ends) = match mishap {
                Some(Mishap::HangUp) => return Ok(false),
                Some(Mishap::Silence) => continue,
                // The text of a mail must end for the session, too.
                Some(Mishap::Answer(answer)) => {
                    session.give_up_text();
                    (format!("{answer}\r\n"), None)
                }
                Some(Mishap::LoseAnswer) | None => match session.step(&line) {
                    Step::Silent => continue,
                    Step::Reply(reply) => (reply, None),
                    Step::Deliver(mail) => (self.folder.deliver(&mail), None),
                    Step::StartTls(reply) => (reply, Some(true)),
                    Step::Close(reply) => (reply, Some(false)),
                },
            };
            if mishap == Some(Mishap::LoseAnswer) {
                return Ok(false);
            }
            stream.write_all(reply.as_bytes()).await?;
            stream.flush().await?;
            if let Some(end) = ends {
                return Ok(end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n\
                        Subject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

    /// Plays a client's side, and returns all that the server said.
    async fn converse(catcher: &MailCatcher, said: &str) -> String {
        let mut stream = TcpStream::connect(catcher.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // Who is hung up on may see the connection broken.
        let _ = stream.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    }

    #[tokio::test]
    async fn a_mail_becomes_a_file_and_numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=2 {
            let catcher = MailCatcher::start(dir.path()).await.unwrap();
            let mut arrivals = catcher.arrivals();
            let heard = converse(&catcher, MAIL).await;
            assert!(heard.ends_with("250 stored\r\n221 bye\r\n"), "{heard}");
            let text = fs::read_to_string(dir.path().join(format!("{number:06}.eml"))).unwrap();
            assert_eq!(text, "Return-Path: <a@x.test>\r\nX-Envelope-To: <b@y.test>\r\nSubject: hi\r\n\r\n.dot\r\n");
            let arrived = arrivals.next().await.unwrap();
            assert_eq!(
                (arrived.to.as_str(), arrived.subject.as_str(), arrived.text.trim()),
                ("b@y.test", "hi", ".dot")
            );
            assert_eq!(catcher.until(number).await.unwrap().len(), number);
        }
    }

    #[tokio::test]
    async fn faults_strike_as_often_as_they_should() {
        let dir = tempfile::tempdir().unwrap();
        let faults = vec![
            Fault::new("RCPT", Mishap::Answer("550 5.1.1 nobody"), 1),
            Fault::new(".", Mishap::HangUp, 1),
            Fault::new(".", Mishap::LoseAnswer, 1),
        ];
        let catcher = MailCatcher::start_with(dir.path(), Manners { faults, ..Manners::default() }).await.unwrap();
        let heard = converse(&catcher, MAIL).await;
        assert!(heard.contains("550 5.1.1 nobody\r\n503 not now\r\n"), "{heard}");
        for stored in [0, 1, 2] {
            let heard = converse(&catcher, MAIL).await;
            assert_eq!(heard.contains("250 stored"), stored == 2, "{heard}");
            assert_eq!(catcher.until(0).await.unwrap().len(), stored);
        }
    }
}
