//! Mail: what it says, how it looks, and the way it takes.
//!
//! Only workers send mail, each by a job. A mail has an HTML and a text part, in the language of whoever asked for it
//! (see `locale`), and wears the operator's name, link, logo and colour (`PDS_SERVICE_NAME`, `PDS_HOME_URL`, `PDS_LOGO_URL`,
//! `PDS_SUPPORT_URL`, `PDS_PRIMARY_COLOR`).
//!
//! # Templates
//!
//! `PDS_EMAIL_TEMPLATES_DIRECTORY` names a folder with templates that replace ours, written for minijinja (as Jinja2):
//! `<mail>.html`, `<mail>.txt` and `<mail>.subject.txt`, where `<mail>` is `confirm_email`, `update_email`, `reset_password`,
//! `delete_account`, `plc_operation`, or `code` for all of them. In a folder named by a language, as `de`, they are for that
//! language. The most special one that exists is taken; what none replaces is ours. Other files may be included or extended.
//!
//! They are given `code`, `handle`, `lang`, `subject`, `preview`, `heading`, `intro`, `link`, `button`, `expiry`, `warning`,
//! `advice`, `footer`, `help` (texts in the reader's language; those that do not apply are empty), `minutes`,
//! `service.name`, `service.home_url`, `service.logo_url`, `service.support_url`, `color.primary` and `color.on_primary`. Values
//! are escaped in `.html` files. All templates are tried when the worker starts, which refuses what does not work or does not
//! show the code.

mod brand;
mod check;
mod html;
mod locale;
mod message;
mod pool;
mod session;
mod template;

use std::sync::Arc;

use anyhow::Context as _;
use common::clock::Clock;
use common::config::{EmailConfig, MailConfig, MailTransport};
use lettre::message::Mailbox;
use tracing::info;

pub use check::{Finding, check};
pub use message::Mail;
use pool::Pool;
pub use session::{Failure, Step};
pub use template::Code;
use template::Templates;

/// Writes and sends mails; cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    moderation: Option<Way>,
    templates: Templates,
    hostname: String,
    clock: Clock,
}

/// Whose mail it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The server's.
    Service,
    /// The moderators'.
    Moderation,
}

/// A mail server, and who sends through it.
#[derive(Debug)]
struct Smtp {
    pool: Pool,
    from: Mailbox,
}

/// The way mails take.
#[derive(Debug)]
enum Way {
    /// To a mail server.
    Smtp(Box<Smtp>),
    /// To the log, for developers.
    Log,
    /// Nowhere.
    Dropped,
}

impl Mailer {
    /// Mails as the settings say.
    ///
    /// # Errors
    /// If a sender is no address, or a template does not work; the message names the variable or the file.
    pub fn new(config: &MailConfig, clock: Clock) -> anyhow::Result<Self> {
        let EmailConfig { transport, moderation_transport, templates_directory, .. } = &config.email;
        let brand = brand::Brand::new(config);
        let templates = Templates::load(templates_directory.as_deref(), brand, !config.email.disable_confirmation_link)
            .context("PDS_EMAIL_TEMPLATES_DIRECTORY")?;
        let way = match transport {
            Some(transport) => smtp(transport, config).context("PDS_EMAIL_FROM_ADDRESS")?,
            None if config.service.dev_mode => Way::Log,
            None => Way::Dropped,
        };
        let moderation = moderation_transport.as_ref().map(|transport| smtp(transport, config));
        let moderation = moderation.transpose().context("PDS_MODERATION_EMAIL_ADDRESS")?;
        let hostname = config.service.hostname.clone();
        Ok(Self(Arc::new(Inner { way, moderation, templates, hostname, clock })))
    }

    /// What the operator should know about the way mails take.
    pub fn warning(&self) -> Option<&'static str> {
        match self.0.way {
            Way::Smtp(_) => None,
            Way::Log => Some("PDS_EMAIL_SMTP_URL is not set: mails are written to this log"),
            Way::Dropped => Some("PDS_EMAIL_SMTP_URL is not set: no mail is sent"),
        }
    }

    /// Writes the mail with a code, in the language that fits the wish `locale` best.
    ///
    /// # Errors
    /// If a template of the operator fails.
    pub fn write_code(&self, code: &Code<'_>, locale: Option<&str>) -> anyhow::Result<Mail> {
        self.0.templates.code(code, locale)
    }

    /// Sends a mail. Once it is accepted, the mail server is responsible.
    ///
    /// # Errors
    /// If the mail server cannot be reached or refuses. The text does not name the recipient.
    pub async fn send(&self, mail: &Mail) -> Result<(), Failure> {
        let way = match (mail.sender, &self.0.moderation) {
            (Sender::Moderation, Some(way)) => way,
            _ => &self.0.way,
        };
        match way {
            Way::Smtp(smtp) => {
                let message = mail.to_message(&smtp.from, &self.0.hostname, self.0.clock.now())?;
                let sent = smtp.pool.send(message.envelope(), &message.formatted()).await;
                sent.map_err(|failure| failure.without(&mail.to))
            }
            Way::Log => {
                info!(to = mail.to, subject = mail.subject, "mail:\n{}", mail.text);
                Ok(())
            }
            Way::Dropped => {
                info!("no mail is sent without PDS_EMAIL_SMTP_URL");
                Ok(())
            }
        }
    }
}

fn smtp(transport: &MailTransport, config: &MailConfig) -> anyhow::Result<Way> {
    let from = message::sender(&transport.from_address, &config.service.name)?;
    let pool = Pool::new(session::Dialer::new(&transport.server, &config.service.hostname)?);
    Ok(Way::Smtp(Box::new(Smtp { pool, from })))
}
