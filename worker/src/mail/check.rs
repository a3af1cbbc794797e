//! Sends a mail to try a set-up, and says how each step went.

use chrono::{DateTime, Utc};
use common::config::{MailTransport, SmtpSecurity};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::Sender;
use super::message::{self, Mail};
use super::session::{self, Dialer, Failure, Step};

/// How a step went.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// Whether it worked.
    pub ok: bool,
    /// What was found out, or what the server or the system said.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Sends a mail to `to`, the way that mails of workers take, and tells `tell` of each step; stops at the first that fails.
///
/// Gives whether the server took the mail.
///
/// # Errors
/// If the sender is no address.
pub async fn check(
    transport: &MailTransport,
    (service, hostname): (&str, &str),
    (to, now): (&str, DateTime<Utc>),
    tell: &mut (dyn FnMut(Finding) + Send),
) -> anyhow::Result<bool> {
    let from = message::sender(&transport.from_address, service)?;
    let dialer = Dialer::new(&transport.server, hostname)?;
    let text = format!("This is a test. {service} can send mail.\n");
    let mail = Mail {
        sender: Sender::Service,
        to: to.to_owned(),
        subject: format!("Test mail from {service}"),
        html: format!("<p>{}</p>\n", text.trim_end().replace('&', "&amp;").replace('<', "&lt;")),
        text,
        language: Some("en"),
        identity: now.to_rfc3339(),
    };
    let mut is_encrypted = false;
    let mut witness = |step: Step, detail: String| {
        is_encrypted |= detail.ends_with("encrypted") && !detail.ends_with("not encrypted");
        let hint = (step == Step::LogIn && !is_encrypted)
            .then(|| "! the password went over the wire without encryption".to_owned());
        tell(Finding { step, ok: true, detail, hint });
    };
    let sent = async {
        let message = mail.to_message(&from, hostname, now)?;
        let mut connection = dialer.open(&mut witness).await?;
        session::deliver(&mut connection, message.envelope(), &message.formatted(), &mut witness).await?;
        // It has the mail; how it takes the leave does not matter.
        let _ = connection.quit().await;
        Ok(())
    };
    let failure = match sent.await {
        Ok(()) => return Ok(true),
        Err(failure) => failure,
    };
    let hint = Some(hint(&failure, transport));
    tell(Finding { step: failure.step, ok: false, detail: failure.text, hint });
    Ok(false)
}

/// What most likely is the matter.
fn hint(failure: &Failure, transport: &MailTransport) -> String {
    let server = &transport.server;
    let text = failure.text.to_ascii_lowercase();
    match failure.step {
        Step::Write => "is the address of the recipient right?".to_owned(),
        Step::Resolve => format!("is {} the right name? Can this machine look names up?", server.host),
        Step::Connect if server.port == 25 => {
            "many providers block port 25: the mail server may take mail on 587 (smtp://) or 465 (smtps://)".to_owned()
        }
        Step::Connect => format!("does the mail server take mail on port {}? Is there a firewall?", server.port),
        Step::Greet | Step::StartTls if text.contains("certificate") => certificate_hint(&text, &server.host),
        Step::Greet if server.security == SmtpSecurity::Tls => {
            "on this port the server may not encrypt from the start: try smtp://, which uses STARTTLS".to_owned()
        }
        Step::Greet if server.port == 465 => "port 465 wants encryption from the start: write smtps://".to_owned(),
        Step::Greet => "is this the port of a mail server? It may want encryption from the start: smtps://".to_owned(),
        Step::StartTls if server.security == SmtpSecurity::Opportunistic && server.credentials.is_some() => {
            "is this the right port? Only if nobody else can listen on the way, as to a server on this machine, add \
             ?ignoreTLS=true"
                .to_owned()
        }
        Step::StartTls => "the server does not encrypt here: is this the right port?".to_owned(),
        Step::LogIn => log_in_hint(transport),
        Step::MailFrom => format!(
            "may this user send as {}? Many servers want the address or its domain verified first",
            transport.from_address
        ),
        Step::RcptTo if server.credentials.is_none() => {
            "the server may take mail for others only from those who log in: put user:password@ into the URL".to_owned()
        }
        Step::RcptTo => "does the recipient exist? May this user send to everybody?".to_owned(),
        Step::Data => "the server does not like the mail itself: its words should say why".to_owned(),
    }
}

fn certificate_hint(text: &str, host: &str) -> String {
    if text.contains("notvalidforname") || text.contains("not valid for name") {
        format!("the certificate is not for {host}: use the name that it is for, or ?tls.servername=NAME")
    } else if text.contains("expired") {
        "the certificate has expired: its owner must renew it".to_owned()
    } else {
        "nobody this machine knows signed the certificate: name the signer's in SSL_CERT_FILE, install \
         ca-certificates, or, on a network that you trust, add ?tls.rejectUnauthorized=false"
            .to_owned()
    }
}

/// The password is not shown; its length tells whether an escape went wrong.
fn log_in_hint(transport: &MailTransport) -> String {
    let Some((user, password)) = &transport.server.credentials else { return String::new() };
    let length = password.expose_secret().chars().count();
    format!(
        "the user is {user}, and the password has {length} characters after unescaping: are they right? In the URL \
         / ? # @ : % are written %2F %3F %23 %40 %3A %25. Some servers want a password made for programs"
    )
}
