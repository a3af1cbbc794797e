//! `pds-worker events replay-check`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use atproto::crypto::PublicKey;
use atproto::event::{Event, Frame};
use clap::Args;
use common::config::{Config, FetchConfig};
use common::repo::Verifier;
use common::sequencer::Sequencer;
use serde::Serialize;
use tokio::time::{Instant, interval_at};
use url::Url;

use super::super::console::{self, Console};
use super::super::{Outcome, database};
use super::check::{Checker, Counts};
use super::keys::{Keys, Place};
use super::source::{End, Log, Socket, Source};

/// Where the keys of `did:plc` accounts are, if nothing else is said.
const PLC: &str = "https://plc.directory";
/// Largest DID document, in bytes.
const MAX_DOCUMENT: u64 = 512 * 1024;
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);
/// One for the log, one for the keys.
const CONNECTIONS: u32 = 2;

/// Which stream to check, and how much of it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Check the stream of this server, `wss://…`, with the keys in its accounts' DID documents. Needs no settings.
    #[arg(long, conflicts_with = "database")]
    url: Option<Url>,
    /// Check the log in the database, without a server. Needs only `PDS_DATABASE_URL`.
    #[arg(long)]
    database: bool,
    /// Start after this seq.
    #[arg(long, value_name = "SEQ", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    from: i64,
    /// Stop after so many events. Else it stops at the newest one.
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// With `--url`: the newest event has been reached when none comes for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    idle: u64,
    /// With `--url`: the PLC directory.
    #[arg(long, value_name = "URL", default_value = PLC)]
    plc: Url,
    /// Print JSON: one object a fault, then one for the whole.
    #[arg(long)]
    json: bool,
}

/// One check of a stream.
struct Replay {
    source: Source,
    keys: Keys,
    /// Stop at this event.
    until: Option<i64>,
    limit: u64,
    checker: Checker,
    faults: u64,
    console: Console,
}

/// A fault for programs.
#[derive(Serialize)]
struct FaultLine<'a> {
    seq: Option<i64>,
    did: Option<&'a str>,
    event: &'a str,
    fault: String,
}

/// The whole for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TotalsLine {
    #[serde(flatten)]
    counts: Counts,
    first_seq: Option<i64>,
    last_seq: Option<i64>,
    repos: usize,
    faults: u64,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let mut replay = Replay::open(&arguments).await?;
    replay.read_all().await?;
    replay.print_totals()?;
    Ok(if replay.faults == 0 { Outcome::Sound } else { Outcome::Damaged })
}

impl Replay {
    async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let (from, idle) = (arguments.from, Duration::from_secs(arguments.idle));
        let (source, place, until) = if let Some(url) = &arguments.url {
            let fetch = FetchConfig { disable_ssrf_protection: false, max_response_size: MAX_DOCUMENT };
            let place = Place::documents(arguments.plc.clone(), &fetch)?;
            (Source::Socket(Box::new(Socket::open(url, from, idle).await?)), place, None)
        } else if arguments.database {
            let pool = database::open("events replay-check", CONNECTIONS).await?;
            let log = Log::open(Sequencer::new(&pool), from).await?;
            (Source::Log(log), Place::Database(Verifier::new(pool)), None)
        } else {
            let config = Config::from_env()?;
            let pool = database::open_at(config.database.clone(), "events replay-check", CONNECTIONS).await?;
            let newest = Sequencer::new(&pool).newest().await?;
            let url = config.public_url().parse().context("the server has no proper public URL")?;
            let socket = Socket::open(&url, from, idle).await?;
            (Source::Socket(Box::new(socket)), Place::Database(Verifier::new(pool)), Some(newest))
        };
        let (keys, limit) = (Keys::new(place), arguments.limit.unwrap_or(u64::MAX));
        let console = Console::new(arguments.json);
        Ok(Self { source, keys, until, limit, checker: Checker::default(), faults: 0, console })
    }

    async fn read_all(&mut self) -> anyhow::Result<()> {
        let mut ticks = interval_at(Instant::now() + PROGRESS, PROGRESS);
        while self.has_more() {
            let frame = tokio::select! {
                frame = self.source.next() => frame?,
                _ = ticks.tick() => {
                    let (events, faults) = (self.checker.counts().events, self.faults);
                    let seq = self.checker.range().map_or(0, |(_, last)| last);
                    console::progress(format_args!("{events} events checked, up to seq {seq}; {faults} faults"));
                    continue;
                }
            };
            match frame {
                Err(End::CaughtUp) => break,
                Ok(frame) => self.take(&frame).await?,
            }
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        let newest = self.checker.range().map_or(i64::MIN, |(_, last)| last);
        self.checker.counts().events < self.limit && self.until.is_none_or(|until| until > newest.max(0))
    }

    async fn take(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        match Frame::decode(frame) {
            Ok(Frame::Event { seq, event }) => self.check(seq, &event).await,
            Ok(Frame::Info { name, message }) => {
                console::progress(format_args!("the server says {name}: {}", message.unwrap_or_default()));
                Ok(())
            }
            Ok(Frame::Error { error, message }) => {
                anyhow::bail!("the server ended the stream: {error}: {}", message.unwrap_or_default())
            }
            Err(error) => {
                let last = self.checker.range().map_or(0, |(_, last)| last);
                self.faults += 1;
                self.console.say(format_args!("frame after seq {last}: {error}"))?;
                self.console.tell(&FaultLine { seq: None, did: None, event: "", fault: error.to_string() })
            }
        }
    }

    async fn check(&mut self, seq: i64, event: &Event) -> anyhow::Result<()> {
        let key = self.key_for(event).await?;
        let faults = self.checker.check(seq, event, key.as_deref());
        let (did, kind) = (event.did(), event.kind().name());
        for fault in &faults {
            self.console.say(format_args!("seq {seq}, {kind} of {did}: {fault}"))?;
            self.console.tell(&FaultLine {
                seq: Some(seq),
                did: Some(did.as_str()),
                event: kind,
                fault: fault.to_string(),
            })?;
        }
        self.faults += u64::try_from(faults.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The key of the account, if the event is one that is signed.
    async fn key_for(&mut self, event: &Event) -> anyhow::Result<Option<Arc<PublicKey>>> {
        match event {
            Event::Commit(_) | Event::Sync(_) => self.keys.find(event.did()).await,
            Event::Identity(_) => {
                // Perhaps the key is what has changed.
                self.keys.forget(event.did());
                Ok(None)
            }
            Event::Account(_) => Ok(None),
        }
    }

    fn print_totals(&self) -> anyhow::Result<()> {
        let (counts, range) = (self.checker.counts(), self.checker.range());
        let (first_seq, last_seq) = (range.map(|(first, _)| first), range.map(|(_, last)| last));
        let (repos, faults) = (self.checker.repos(), self.faults);
        self.console.tell(&TotalsLine { counts, first_seq, last_seq, repos, faults })?;
        let Counts { events, commits, syncs, identities, accounts, gaps } = counts;
        let verdict = if faults == 0 { "no fault".to_owned() } else { format!("{faults} FAULTS") };
        self.console.say(format_args!(
            "{events} events checked, seq {} to {}: {verdict}\n\
             {commits} #commit, {syncs} #sync, {identities} #identity, {accounts} #account, of {repos} repositories; \
             {gaps} gaps in the numbers",
            first_seq.unwrap_or(0),
            last_seq.unwrap_or(0),
        ))
    }
}
