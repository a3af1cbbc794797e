//! `pds-worker admin account reset-password`, and the passwords of new accounts.

use std::io::{self, BufRead as _, Read as _};

use anyhow::Context as _;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::super::super::Outcome;
use super::super::super::console::Console;
use super::super::super::office::Office;

/// Characters of a password that is made up: 120 bits.
const CHARS: usize = 24;
/// Letters and digits that are not mistaken for each other, 32 of them.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// Bytes of a password on standard input, at most.
const MAX_INPUT: u64 = 4096;

/// Which account.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Its DID, handle or e-mail address.
    account: String,
    #[command(flatten)]
    password: Source,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where a password comes from.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Source {
    /// Read the password from standard input, up to the end of the first line; without it one is made up and shown.
    #[arg(long)]
    password_stdin: bool,
}

/// A password, and whether the operator knows it already.
pub(super) struct Password {
    pub(super) text: SecretString,
    /// To be shown, since nobody else knows it.
    pub(super) made_up: bool,
}

impl Password {
    /// The text, if it has to be shown.
    pub(super) fn shown(&self) -> Option<&str> {
        self.made_up.then(|| self.text.expose_secret())
    }
}

impl Source {
    pub(super) fn take(self) -> anyhow::Result<Password> {
        if !self.password_stdin {
            return Ok(Password { text: make_up().into(), made_up: true });
        }
        let mut text = String::new();
        io::stdin().lock().take(MAX_INPUT).read_line(&mut text).context("cannot read the password")?;
        let line = text.lines().next().unwrap_or_default();
        anyhow::ensure!(!line.is_empty(), "there is no password on standard input");
        Ok(Password { text: line.into(), made_up: false })
    }
}

fn make_up() -> String {
    let random: [u8; CHARS] = rand::random();
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account reset-password").await?;
    let account = office.find(&arguments.account).await?.account;
    let password = arguments.password.take()?;
    let set = office.admin.update_password(&office.actor, &account.did, password.text.clone()).await;
    set.context("the password was not changed")?;
    console.tell(&json!({ "did": account.did, "password": password.shown() }))?;
    console.say(format_args!("{} ({}) has another password, and no session.", account.did, account.shown_handle()))?;
    if let Some(text) = password.shown() {
        console.say(format_args!("The password is {text}"))?;
    }
    Ok(Outcome::Sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_made_up_of_the_alphabet() {
        let password = make_up();
        assert!(password.len() == CHARS && password.bytes().all(|byte| ALPHABET.contains(&byte)), "{password}");
        assert_ne!(make_up(), password);
    }
}
