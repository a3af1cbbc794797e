//! Printing.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde::Serialize;

use crate::plain::{self, Lines};

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    json: bool,
}

impl Console {
    /// Prints for programs if `json` is true, else for people.
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// True if programs read along.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a line for people. Whatever others have a say in may stand in it: a terminal obeys none of it.
    ///
    /// # Errors
    /// If nobody reads any more: there is no use in going on.
    pub(super) fn say(self, line: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{}", Lines(line)).context("cannot print")
    }

    /// Prints an object for programs. People may look at it as well, so a terminal obeys none of it either.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub(super) fn tell(self, object: &impl Serialize) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        let line = plain::json(object)?;
        writeln!(io::stdout().lock(), "{line}").context("cannot print")
    }
}

/// Says how far the work is.
pub(super) fn progress(line: impl std::fmt::Display) {
    // Progress that nobody reads is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "{}", Lines(line));
}

/// Asks for a yes. Without a terminal nobody can be asked.
///
/// # Errors
/// If there is no terminal.
pub(super) fn confirm(question: &str) -> anyhow::Result<bool> {
    anyhow::ensure!(io::stdin().is_terminal(), "{question} Nobody can be asked here: give --yes if you mean it");
    write!(io::stderr().lock(), "{question} [y/N] ").context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
