//! `pds-worker relay status`.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use common::account::Accounts;
use common::clock::Clock;
use common::config::Config;
use common::relay::{Check, Relay, Relays, Survey, Warning};
use common::sequencer::Sequencer;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;

use super::super::console::{self, Console};
use super::super::{Outcome, database};
use super::{print, request};
use crate::relay::{Checker, Plan, RelayClient, SECOND_LOOK, Whose};

/// Relays that are asked at once.
const AT_ONCE: usize = 8;
/// One for each of them now and then.
const CONNECTIONS: u32 = 4;

/// Whom to ask, and what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// This relay instead of those of `PDS_CRAWLERS`; may be given several times.
    #[arg(long = "relay", value_name = "URL")]
    relays: Vec<Url>,
    /// Ask about so many accounts.
    #[arg(long, value_name = "N", default_value_t = 200)]
    sample: u16,
    /// Ask about all accounts. A million of them take 28 hours at 10 a second.
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Ask each relay about so many accounts a second: relays have limits.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    per_second: u16,
    /// After so many seconds ask again about accounts that seem to differ: it takes a relay some time to hear of a change.
    #[arg(long, value_name = "SECONDS", default_value_t = SECOND_LOOK.as_secs())]
    again_after: u64,
    /// Print a letter to the operators of each relay that allows too few accounts, with what was found.
    #[arg(long, conflicts_with = "json")]
    letter: bool,
    /// Print JSON, one object for each relay.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let config = Config::from_env()?;
    let urls = if arguments.relays.is_empty() { &config.upstreams.crawlers } else { &arguments.relays };
    let relays = Relay::all(urls);
    anyhow::ensure!(!relays.is_empty(), "there is no relay to ask: set PDS_CRAWLERS, or give --relay");
    let pool = database::open_at(config.database.clone(), "relay status", CONNECTIONS).await?;
    let checker = Checker {
        client: RelayClient::new(&config.service.hostname)?,
        accounts: Accounts::new(pool.clone()),
        sequencer: Sequencer::new(&pool),
        clock: Clock::system(),
        limits: config.relay.account_limits.clone(),
        second_look: Duration::from_secs(arguments.again_after),
    };
    let checks = check_all(&checker, &relays, arguments).await?;
    let names: Vec<&str> = relays.iter().map(|relay| relay.name.as_str()).collect();
    let notices = Relays::new(pool).list_notices(&names).await.context("cannot read what relays were told")?;

    let console = Console::new(arguments.json);
    print::heading(console)?;
    for check in &checks {
        let notice = notices.iter().find(|notice| notice.relay == check.relay);
        print::relay(console, check, notice)?;
    }
    if arguments.letter {
        for check in checks.iter().filter(|check| request::is_due(check)) {
            console.say(request::letter(check, &config.service))?;
        }
    }
    Ok(outcome(&checks))
}

async fn check_all(checker: &Checker, relays: &[Relay], arguments: &Arguments) -> anyhow::Result<Vec<Check>> {
    let progress = |relay: &Relay, survey: &Survey| {
        console::progress(format_args!("{}: asked about {} accounts", relay.name, survey.answered + survey.unanswered));
    };
    let whose = if arguments.all { Whose::All } else { Whose::Some(arguments.sample) };
    let plan = Plan { whose, per_second: arguments.per_second, progress: &progress };
    stream::iter(relays).map(|relay| checker.check(relay, &plan)).buffered(AT_ONCE).try_collect().await
}

/// That a relay does not answer says less than what others answer.
fn outcome(checks: &[Check]) -> Outcome {
    let warnings: Vec<Warning> = checks.iter().flat_map(Check::warnings).collect();
    match warnings.as_slice() {
        [] => Outcome::Sound,
        warnings if warnings.iter().all(|warning| *warning == Warning::Unanswered) => Outcome::Unchecked,
        _ => Outcome::Damaged,
    }
}
