//! `pds-worker admin account …`.

mod change;
mod create;
mod delete;
mod list;
mod password;
mod print;
mod quota;
mod show;
mod status;

use clap::Subcommand;

use super::super::Outcome;

/// Make, find, show, change, close and delete accounts.
///
/// These take the settings of the servers. An account is named by its DID, its handle or its e-mail address. Exit code: 0 if
/// it was done, 1 if it was left as it is, 2 if it failed.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account with a new DID: without an invitation, also where sign-up is closed, and with a handle that is kept
    /// back.
    Create(create::Arguments),
    /// List all accounts, the oldest first.
    List(list::ListArguments),
    /// Find accounts: by the beginning of an e-mail address or handle, by `@` and a domain, or by a DID.
    Search(list::SearchArguments),
    /// Show an account with its invitations.
    Show(show::Arguments),
    /// Take an account down: nobody may read it, its sessions end, and only you can open it again.
    Takedown(status::TakedownArguments),
    /// Take a takedown back.
    Untakedown(status::Arguments),
    /// Close an account as its owner could.
    Deactivate(status::DeactivateArguments),
    /// Open an account that was closed, whatever its DID document says.
    Activate(status::Arguments),
    /// Delete an account with all its data, for good. Its DID stays in the PLC directory.
    Delete(delete::Arguments),
    /// Give an account another main password, which ends its sessions.
    ResetPassword(password::Arguments),
    /// Give an account a handle, also one that is kept back.
    SetHandle(change::HandleArguments),
    /// Give an account an e-mail address, which its owner has to confirm.
    SetEmail(change::EmailArguments),
    /// Let an account have more, or fewer, blobs than the settings say.
    SetQuota(quota::Arguments),
}

impl AccountCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Create(arguments) => create::run(arguments).await,
            Self::List(arguments) => list::list(&arguments).await,
            Self::Search(arguments) => list::search(&arguments).await,
            Self::Show(arguments) => show::run(&arguments).await,
            Self::Takedown(arguments) => status::take_down(&arguments).await,
            Self::Untakedown(arguments) => status::restore(&arguments).await,
            Self::Deactivate(arguments) => status::deactivate(&arguments).await,
            Self::Activate(arguments) => status::activate(&arguments).await,
            Self::Delete(arguments) => delete::run(&arguments).await,
            Self::ResetPassword(arguments) => password::run(&arguments).await,
            Self::SetHandle(arguments) => change::handle(&arguments).await,
            Self::SetEmail(arguments) => change::email(&arguments).await,
            Self::SetQuota(arguments) => quota::run(&arguments).await,
        }
    }
}
