//! A listening post between a program and Postgres: which statements does it run?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// A proxy in front of a Postgres server that notes the statements its clients run. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    url: Url,
    statements: Arc<Mutex<Vec<String>>>,
    listener: JoinHandle<()>,
}

impl Tap {
    /// Starts a proxy to the database at `url`.
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let mut url: Url = url.parse()?;
        let server = format!("{}:{}", url.host_str().context("no host")?, url.port().unwrap_or(5432));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(listener.local_addr()?.port())).ok().context("no port in this URL")?;
        url.set_query(Some("sslmode=disable"));
        let statements = Arc::default();
        let noted = Arc::clone(&statements);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, noted) = (server.clone(), Arc::clone(&noted));
                // A connection that breaks is the client's to notice.
                tokio::spawn(async move { forward(client, &server, &noted).await.ok() });
            }
        });
        Ok(Self { url, statements, listener })
    }

    /// The database's URL through the proxy.
    pub(crate) fn url(&self) -> String {
        self.url.to_string()
    }

    /// The statements run since the last call, in the order they came.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.statements.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn forward(client: TcpStream, server: &str, noted: &Mutex<Vec<String>>) -> Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut session = Session::default();
    // The first message has a length, but no kind.
    let mut kind = None;
    loop {
        let length = from_client.read_u32().await?;
        let mut body = vec![0; usize::try_from(length)?.saturating_sub(4)];
        from_client.read_exact(&mut body).await?;
        if let Some(kind) = kind {
            if let Some(statement) = session.note(kind, &body) {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(statement);
            }
            to_server.write_u8(kind).await?;
        }
        to_server.write_u32(length).await?;
        to_server.write_all(&body).await?;
        kind = Some(from_client.read_u8().await?);
    }
}

/// What one connection has prepared, and bound last.
#[derive(Default)]
struct Session {
    prepared: HashMap<String, String>,
    bound: String,
}

impl Session {
    /// The statement that this message runs, if it runs one.
    fn note(&mut self, kind: u8, body: &[u8]) -> Option<String> {
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        match kind {
            // Parse: name, text.
            b'P' => _ = self.prepared.insert(texts.next()?, texts.next()?),
            // Bind: portal, name.
            b'B' => self.bound = texts.nth(1)?,
            // Execute.
            b'E' => return self.prepared.get(&self.bound).cloned(),
            // Query: text.
            b'Q' => return texts.next(),
            _ => {}
        }
        None
    }
}
