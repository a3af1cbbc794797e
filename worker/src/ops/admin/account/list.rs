//! `pds-worker admin account list` and `search`.

use std::collections::HashSet;

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::{Args, ValueEnum};
use common::account::{AccountDetails, AccountStatus, Accounts, Search};

use super::super::super::console::Console;
use super::super::super::{Outcome, database};
use super::print;

/// Accounts that are read at once.
const PAGE: u16 = 500;

/// Which accounts.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only those with this status.
    #[arg(long)]
    status: Option<Status>,
    /// So many at most.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// What to look for.
#[derive(Debug, Args)]
pub struct SearchArguments {
    /// The beginning of an e-mail address or handle, `@` and a domain, or a DID.
    text: String,
    /// So many at most.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Active,
    Deactivated,
    Takendown,
}

impl Status {
    fn is(self, status: AccountStatus) -> bool {
        match self {
            Self::Active => status == AccountStatus::Active,
            Self::Deactivated => status == AccountStatus::Deactivated,
            Self::Takendown => status == AccountStatus::Takendown,
        }
    }
}

pub(super) async fn list(arguments: &ListArguments) -> anyhow::Result<Outcome> {
    let mut printer = Printer::new(arguments.json, arguments.limit.unwrap_or(u64::MAX))?;
    let accounts = Accounts::new(database::open("admin account list", 1).await?);
    printer.print_all(&accounts, &Search::All, arguments.status).await?;
    Ok(Outcome::Sound)
}

pub(super) async fn search(arguments: &SearchArguments) -> anyhow::Result<Outcome> {
    let mut printer = Printer::new(arguments.json, arguments.limit)?;
    let accounts = Accounts::new(database::open("admin account search", 1).await?);
    let text = arguments.text.as_str();
    if text.starts_with("did:") {
        let did: Did = text.parse().with_context(|| format!("{text} is no DID"))?;
        if let Some(details) = accounts.find_details(&did).await.context("cannot read the account")? {
            printer.print(&details)?;
        }
        return Ok(Outcome::Sound);
    }
    printer.print_all(&accounts, &Search::email(text), None).await?;
    if !text.contains('@') {
        printer.print_all(&accounts, &Search::handle(text), None).await?;
    }
    Ok(Outcome::Sound)
}

/// Prints each account once.
struct Printer {
    console: Console,
    left: u64,
    printed: HashSet<Did>,
}

impl Printer {
    fn new(json: bool, limit: u64) -> anyhow::Result<Self> {
        let console = Console::new(json);
        print::heading(console)?;
        Ok(Self { console, left: limit, printed: HashSet::new() })
    }

    async fn print_all(&mut self, accounts: &Accounts, search: &Search, status: Option<Status>) -> anyhow::Result<()> {
        let mut cursor: Option<String> = None;
        loop {
            let page = accounts.search(search, cursor.as_deref(), PAGE).await.context("cannot read the accounts")?;
            let is_wanted = |details: &&AccountDetails| status.is_none_or(|status| status.is(details.account.status));
            for details in page.accounts.iter().filter(is_wanted) {
                // A list of all names each once; remembering them would take memory.
                if *search == Search::All || self.printed.insert(details.account.did.clone()) {
                    self.print(details)?;
                }
                if self.left == 0 {
                    return Ok(());
                }
            }
            let Some(next) = page.cursor else { return Ok(()) };
            cursor = Some(next);
        }
    }

    fn print(&mut self, details: &AccountDetails) -> anyhow::Result<()> {
        self.left -= 1;
        print::row(details, self.console)
    }
}
