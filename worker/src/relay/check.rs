//! Asking a relay what it knows of this server.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use common::account::{Account, AccountDetails, Accounts, Search};
use common::clock::Clock;
use common::config::AccountLimits;
use common::relay::{Check, Difference, HostStatus, Relay, Survey};
use common::sequencer::Sequencer;
use futures_util::{StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::client::{Host, Refusal, RelayClient, Repo};

/// Accounts that are read at once.
const PAGE: u16 = 500;
/// Questions that may be on their way at once.
const AT_ONCE: usize = 8;
/// So many in a row that are not answered, and no more are asked.
const PATIENCE: u32 = 5;
/// A relay need not have taken in what was made since.
const SETTLED: Duration = Duration::from_mins(10);
/// Longer than an event is on its way to a relay that keeps up.
pub const SECOND_LOOK: Duration = Duration::from_secs(15);

/// Asks relays, and holds what they say against what is so.
#[derive(Clone, Debug)]
pub struct Checker {
    /// Asks.
    pub client: RelayClient,
    /// The accounts here.
    pub accounts: Accounts,
    /// The events here.
    pub sequencer: Sequencer,
    /// The time.
    pub clock: Clock,
    /// What relays allow.
    pub limits: AccountLimits,
    /// How long after a look at an account that seems to differ a relay is asked again: [`SECOND_LOOK`].
    pub second_look: Duration,
}

/// Which accounts a relay is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// So many: one half the newest, which are the first that a relay leaves out, the other half at random.
    Some(u16),
    /// All of them.
    All,
}

/// How much to ask.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// About which accounts.
    pub whose: Whose,
    /// About how many accounts a second: relays have limits.
    pub per_second: u16,
    /// Is told now and then how far it is.
    pub progress: &'a (dyn Fn(&Relay, &Survey) + Send + Sync),
}

impl Checker {
    /// Asks a relay. That it does not answer is a finding, too.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn check(&self, relay: &Relay, plan: &Plan<'_>) -> anyhow::Result<Check> {
        let mut check = Check::begun(relay.name.clone(), self.clock.now());
        let host = self.client.host_status(&relay.url).await;
        match &host {
            Ok(Host::Known { status, cursor, accounts }) => {
                (check.host_status, check.cursor, check.account_count) = (*status, *cursor, *accounts);
            }
            Ok(Host::NotFound) => check.host_status = HostStatus::NotFound,
            Ok(Host::NotTold) => {}
            Err(refusal) => check.failure = Some(refusal.to_string()),
        }
        // Only now: what the relay has read is in the log by the time it says so.
        let place = self.sequencer.locate(check.cursor.unwrap_or(i64::MAX)).await.context("cannot read the log")?;
        (check.newest, check.waiting_since) = (place.newest, place.next_time);
        check.own_accounts = self.accounts.count().await.context("cannot count the accounts")?;
        check.account_limit = self.limits.of(&relay.name);
        if matches!(host, Ok(Host::Known { .. })) {
            check.survey = self.survey(relay, plan).await?;
        }
        Ok(check)
    }

    async fn survey(&self, relay: &Relay, plan: &Plan<'_>) -> anyhow::Result<Survey> {
        let Whose::Some(count) = plan.whose else { return self.survey_all(relay, plan).await };
        let (mut survey, before) = (Survey::default(), self.clock.now() - SETTLED);
        let sample = self.accounts.sample(count, before).await.context("cannot read the accounts")?;
        self.ask_about(relay, plan, sample, &mut survey).await?;
        Ok(survey)
    }

    async fn survey_all(&self, relay: &Relay, plan: &Plan<'_>) -> anyhow::Result<Survey> {
        let (mut survey, mut cursor) = (Survey::default(), None::<String>);
        loop {
            let page = self.accounts.search(&Search::All, cursor.as_deref(), PAGE).await;
            let page = page.context("cannot read the accounts")?;
            let before = self.clock.now() - SETTLED;
            let settled = page.accounts.into_iter().filter(|details| details.account.created_at < before);
            let goes_on = self.ask_about(relay, plan, settled.collect(), &mut survey).await?;
            (plan.progress)(relay, &survey);
            match page.cursor {
                Some(next) if goes_on => cursor = Some(next),
                _ => return Ok(survey),
            }
        }
    }

    /// Asks about each of these accounts; false if the relay stopped answering.
    ///
    /// A change of an account that has only just been made is still on its way to the relay, and no fault of it. So what an
    /// event on its way could explain is looked at once more, some time later, and counts if it is so again.
    async fn ask_about(
        &self,
        relay: &Relay,
        plan: &Plan<'_>,
        accounts: Vec<AccountDetails>,
        survey: &mut Survey,
    ) -> anyhow::Result<bool> {
        let first = self.ask_each(relay, plan, accounts, survey).await?;
        let mut doubtful = Vec::new();
        for Finding { account, difference } in first.findings {
            match difference {
                Some(difference) if may_be_on_its_way(difference) => doubtful.push(account),
                difference => survey.add(&account.did, difference),
            }
        }
        if doubtful.is_empty() || !first.goes_on {
            return Ok(first.goes_on);
        }
        sleep(self.second_look).await;
        let mut accounts = Vec::new();
        for account in doubtful {
            accounts.extend(self.accounts.find_details(&account.did).await.context("cannot read an account")?);
        }
        let second = self.ask_each(relay, plan, accounts, survey).await?;
        for Finding { account, difference } in second.findings {
            survey.add(&account.did, difference);
        }
        Ok(second.goes_on)
    }

    /// Asks about each of these accounts, until the relay stops answering. Those that changed meanwhile are left out.
    async fn ask_each(
        &self,
        relay: &Relay,
        plan: &Plan<'_>,
        accounts: Vec<AccountDetails>,
        survey: &mut Survey,
    ) -> anyhow::Result<Answers> {
        let mut pace = interval(Duration::from_secs(1) / u32::from(plan.per_second.max(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let paced = stream::unfold((accounts.into_iter(), pace), async |(mut accounts, mut pace)| {
            let details = accounts.next()?;
            pace.tick().await;
            Some((details.account, (accounts, pace)))
        });
        let asked = paced.map(|account| {
            let (client, relay) = (self.client.clone(), relay.url.clone());
            async move {
                let answer = client.repo_status(&relay, &account.did).await;
                (account, answer)
            }
        });
        let mut answers = pin!(asked.buffer_unordered(AT_ONCE));
        let (mut findings, mut silence) = (Vec::new(), 0);
        while let Some((account, answer)) = answers.next().await {
            match answer {
                Ok(repo) => {
                    silence = 0;
                    let difference = difference(&account, repo);
                    if difference.is_none() || self.is_still(&account).await? {
                        findings.push(Finding { account, difference });
                    }
                }
                Err(refusal) => {
                    silence += 1;
                    note_silence(survey, &refusal);
                    if silence >= PATIENCE {
                        return Ok(Answers { findings, goes_on: false });
                    }
                }
            }
        }
        Ok(Answers { findings, goes_on: true })
    }

    /// Whether an account is as it was when the relay was asked: it may have changed since it was read.
    async fn is_still(&self, account: &Account) -> anyhow::Result<bool> {
        let now = self.accounts.find_details(&account.did).await.context("cannot read an account")?;
        Ok(now.is_some_and(|now| now.account.status == account.status))
    }
}

/// What a relay said of an account.
struct Finding {
    account: Account,
    difference: Option<Difference>,
}

/// What a relay said of some accounts.
struct Answers {
    findings: Vec<Finding>,
    /// False if it stopped answering.
    goes_on: bool,
}

fn difference(account: &Account, repo: Option<Repo>) -> Option<Difference> {
    let active = account.status.is_active();
    match repo {
        Some(repo) => Difference::of(active, repo.active, repo.status.as_deref()),
        None => active.then_some(Difference::Missing),
    }
}

/// Whether a relay may only not have heard yet. What it does of its own accord does not change with what it hears.
fn may_be_on_its_way(difference: Difference) -> bool {
    match difference {
        Difference::Missing | Difference::Closed | Difference::Open | Difference::Desynchronized => true,
        Difference::Throttled | Difference::Moderated => false,
    }
}

fn note_silence(survey: &mut Survey, refusal: &Refusal) {
    survey.unanswered += 1;
    survey.failure = Some(refusal.to_string());
}
