//! One conversation with a mail server, step by step.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use common::config::{SmtpSecurity, SmtpServer};
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long one step may take.
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// How long a server may take to accept a whole mail: it may look for viruses meanwhile.
const ACCEPT_LIMIT: Duration = Duration::from_mins(1);
/// Refusals that concern us rather than the mail: authentication is needed, or failed (RFC 4954, section 6).
const OUR_FAULT: [&str; 4] = ["530", "534", "535", "538"];

/// What happens on the way of a mail, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The mail is written.
    Write,
    /// The host's addresses are looked up.
    Resolve,
    /// A connection is made.
    Connect,
    /// The server greets; where encryption begins at once, that is part of it.
    Greet,
    /// Encryption begins.
    StartTls,
    /// User name and password are shown.
    LogIn,
    /// The sender is named.
    MailFrom,
    /// The recipient is named.
    RcptTo,
    /// The mail is handed over.
    Data,
}

impl Step {
    /// In the words of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "message",
            Self::Resolve => "DNS",
            Self::Connect => "connect",
            Self::Greet => "greeting",
            Self::StartTls => "STARTTLS",
            Self::LogIn => "AUTH",
            Self::MailFrom => "MAIL FROM",
            Self::RcptTo => "RCPT TO",
            Self::Data => "DATA",
        }
    }
}

/// Why a mail was not sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What failed.
    pub step: Step,
    /// What the server or the system said.
    pub text: String,
    /// Whether the server will never take this mail.
    pub is_permanent: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step.as_str(), self.text)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    fn of(step: Step, text: impl fmt::Display) -> Self {
        Self { step, text: text.to_string(), is_permanent: false }
    }

    /// A server's refusal, or what went wrong on the way.
    fn from_smtp(step: Step, error: &Error) -> Self {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let Some(code) = error.status() else {
            return Self::of(step, if source.is_empty() { error.to_string() } else { source });
        };
        let code = code.to_string();
        let is_permanent = error.is_permanent() && step > Step::LogIn && !OUR_FAULT.contains(&code.as_str());
        Self { step, text: format!("{code} {source}"), is_permanent }
    }

    /// Without an address, which servers like to repeat.
    pub(super) fn without(mut self, address: &str) -> Self {
        let (text, address) = (self.text.to_ascii_lowercase(), address.to_ascii_lowercase());
        for (at, found) in text.rmatch_indices(&address) {
            self.text.replace_range(at..at + found.len(), "recipient");
        }
        self
    }
}

/// How to reach a mail server.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) server: SmtpServer,
    hello: ClientId,
    /// Unless encryption is never wanted.
    tls: Option<TlsParameters>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.server).finish()
    }
}

/// Told what worked, and how.
pub(super) type Witness<'a> = &'a mut (dyn FnMut(Step, String) + Send);

impl Dialer {
    /// Greets with the name in the URL, or this server's, or for `localhost` the machine's.
    ///
    /// # Errors
    /// If encryption cannot be set up.
    pub(super) fn new(server: &SmtpServer, hostname: &str) -> anyhow::Result<Self> {
        let hello = match &server.hello_name {
            Some(name) => ClientId::Domain(name.clone()),
            None if hostname == "localhost" => ClientId::default(),
            None => ClientId::Domain(hostname.to_owned()),
        };
        let tls = match server.security {
            SmtpSecurity::Never => None,
            _ => Some(tls(server)?),
        };
        Ok(Self { server: server.clone(), hello, tls })
    }

    /// Connects, encrypts, and logs in, as far as the settings ask for it.
    ///
    /// # Errors
    /// At the first step that fails. Never permanent: a mail cannot help it.
    pub(super) async fn open(&self, witness: Witness<'_>) -> Result<AsyncSmtpConnection, Failure> {
        let addresses = self.resolve().await?;
        witness(Step::Resolve, list(&addresses));
        let (stream, address) = connect(&addresses).await?;
        witness(Step::Connect, address.to_string());
        let mut connection = self.greet(stream, address).await?;
        let encrypted = if connection.is_encrypted() { ", encrypted" } else { "" };
        witness(Step::Greet, format!("{}{encrypted}", connection.server_info().name()));
        self.start_tls(&mut connection, witness).await?;
        self.log_in(&mut connection, witness).await?;
        Ok(connection)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let SmtpServer { host, port, .. } = &self.server;
        let found = within(Step::Resolve, STEP_LIMIT, lookup_host((host.as_str(), *port))).await?;
        let addresses: Vec<_> = found.map_err(|error| Failure::of(Step::Resolve, error))?.collect();
        if addresses.is_empty() { Err(Failure::of(Step::Resolve, "no address")) } else { Ok(addresses) }
    }

    async fn greet(&self, stream: TcpStream, address: SocketAddr) -> Result<AsyncSmtpConnection, Failure> {
        let greeted = if self.server.security == SmtpSecurity::Tls {
            // It makes its own connection: one that is handed over it takes for a plain one.
            drop(stream);
            let (tls, limit) = (self.tls.clone(), Some(STEP_LIMIT));
            let dialing = AsyncSmtpConnection::connect_tokio1(address, limit, &self.hello, tls, None);
            within(Step::Greet, STEP_LIMIT, dialing).await?
        } else {
            let dialing = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello);
            within(Step::Greet, STEP_LIMIT, dialing).await?
        };
        greeted.map_err(|error| Failure::from_smtp(Step::Greet, &error))
    }

    async fn start_tls(&self, connection: &mut AsyncSmtpConnection, witness: Witness<'_>) -> Result<(), Failure> {
        // Whoever sits in between can take the offer away, to read the password; what stays readable is a mail.
        // Reference: it shows the password all the same.
        let has_password = self.server.credentials.is_some();
        let is_required = match self.server.security {
            SmtpSecurity::Tls | SmtpSecurity::Never => return Ok(()),
            SmtpSecurity::StartTls => true,
            SmtpSecurity::Opportunistic => has_password,
        };
        if !connection.can_starttls() {
            if !is_required {
                witness(Step::StartTls, "not offered: not encrypted".to_owned());
                return Ok(());
            }
            let reason = if has_password { ", and the password is not sent without" } else { "" };
            return Err(Failure::of(Step::StartTls, format!("the server offers no encryption{reason}")));
        }
        let Some(tls) = self.tls.clone() else { return Ok(()) };
        let started = within(Step::StartTls, STEP_LIMIT, connection.starttls(tls, &self.hello)).await?;
        started.map_err(|error| Failure::from_smtp(Step::StartTls, &error))?;
        witness(Step::StartTls, "encrypted".to_owned());
        Ok(())
    }

    async fn log_in(&self, connection: &mut AsyncSmtpConnection, witness: Witness<'_>) -> Result<(), Failure> {
        let Some((user, password)) = &self.server.credentials else { return Ok(()) };
        let offered = connection.server_info().get_auth_mechanism(DEFAULT_MECHANISMS);
        let mechanism = offered.ok_or_else(|| Failure::of(Step::LogIn, no_mechanism(connection)))?;
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        let login = within(Step::LogIn, STEP_LIMIT, connection.auth(&[mechanism], &credentials)).await?;
        login.map_err(|error| Failure::from_smtp(Step::LogIn, &error))?;
        witness(Step::LogIn, format!("as {user}, by {mechanism}"));
        Ok(())
    }
}

/// Hands a mail over; the connection is good for another one unless this fails.
///
/// # Errors
/// At the first step that fails; permanent if the server refuses for good.
pub(super) async fn deliver(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
    witness: Witness<'_>,
) -> Result<(), Failure> {
    let mut parameters = Vec::new();
    if envelope.to().iter().any(|to| !AsRef::<str>::as_ref(to).is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            let text = "the server takes no addresses beyond ASCII (SMTPUTF8)".to_owned();
            return Err(Failure { step: Step::MailFrom, text, is_permanent: true });
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    let mut steps = vec![(Step::MailFrom, Mail::new(envelope.from().cloned(), parameters).to_string())];
    steps.extend(envelope.to().iter().map(|to| (Step::RcptTo, Rcpt::new(to.clone(), Vec::new()).to_string())));
    steps.push((Step::Data, Data.to_string()));
    for (step, command) in steps {
        let reply = within(step, STEP_LIMIT, connection.command(command)).await?;
        let reply = reply.map_err(|error| Failure::from_smtp(step, &error))?;
        if step != Step::Data {
            witness(step, reply.code().to_string());
        }
    }
    let accepted = within(Step::Data, ACCEPT_LIMIT, connection.message(message)).await?;
    let reply = accepted.map_err(|error| Failure::from_smtp(Step::Data, &error))?;
    witness(Step::Data, format!("{} {}", reply.code(), reply.first_line().unwrap_or_default()));
    Ok(())
}

async fn within<T>(step: Step, limit: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(limit, work).await.map_err(|_| Failure::of(step, format!("no answer within {} seconds", limit.as_secs())))
}

/// Connects to the first address that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut failures = Vec::new();
    for address in addresses {
        match timeout(STEP_LIMIT / 2, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer")),
        }
    }
    Err(Failure::of(Step::Connect, failures.join("; ")))
}

fn tls(server: &SmtpServer) -> anyhow::Result<TlsParameters> {
    let name = server.certificate_name.as_ref().unwrap_or(&server.host).clone();
    let builder = TlsParameters::builder(name)
        .dangerous_accept_invalid_certs(!server.checks_certificate)
        .dangerous_accept_invalid_hostnames(!server.checks_certificate);
    Ok(builder.build_rustls()?)
}

fn no_mechanism(connection: &AsyncSmtpConnection) -> &'static str {
    if connection.server_info().supports_auth_mechanism(Mechanism::Xoauth2) {
        "the server takes no password, only OAuth"
    } else if connection.is_encrypted() {
        "the server takes no password: leave user and password out of the URL, or is this the right port?"
    } else {
        "the server takes no password on a connection that is not encrypted"
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_left_out_of_a_servers_words() {
        let text = "550 <Alice@Mail.test>: no ÄÖ alice@mail.test here".to_owned();
        let failure = Failure { step: Step::RcptTo, text, is_permanent: true }.without("alice@mail.test");
        assert_eq!(failure.to_string(), "RCPT TO: 550 <recipient>: no ÄÖ recipient here");
        let other = Failure { text: "ok".to_owned(), ..failure };
        assert_eq!(other.clone().without("x@y.z"), other);
    }
}
