//! A server under measurement, with the accounts and repositories that the scenarios share.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use crate::connection::{Call, Connection};
use crate::measure::{self, Phase, Plan, Requests, Setting, Work};
use crate::post;
use crate::progress::Progress;
use crate::row::Row;
use crate::target::Target;

/// Sign-ups under way at once; each costs a server one slow password hash.
const SIGN_UPS: usize = 4;
/// Records of one `applyWrites` when a repository is filled: the most the protocol allows.
const FILL_BATCH: usize = 200;
/// Every account's password.
const PASSWORD: &str = "benchmark-password";

/// An account made for the benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its DID.
    pub(crate) did: String,
    /// Its handle.
    pub(crate) handle: String,
    /// The value of the header `authorization` that signs its owner in.
    pub(crate) token: HeaderValue,
}

/// How big the scenarios are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How long each is measured.
    pub(crate) plan: Plan,
    /// Whether only to see that everything works.
    pub(crate) quick: bool,
}

/// A server, and what has been made on it so far.
#[derive(Debug)]
pub(crate) struct Session {
    /// The server.
    pub(crate) target: Target,
    /// How big the scenarios are.
    pub(crate) scale: Scale,
    /// Shows what is going on.
    pub(crate) progress: Arc<Progress>,
    sign_up: SignUp,
    /// Makers of accounts besides this one, whose names must differ.
    forks: u32,
    accounts: Vec<Account>,
    /// Accounts with a certain number of records that nothing is written to any more.
    filled: BTreeMap<usize, Account>,
}

impl Session {
    /// Asks the server how accounts are made there.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn open(
        target: Target,
        invite_code: Option<String>,
        scale: Scale,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let sign_up = SignUp::learn(&target, invite_code).await?;
        Ok(Self { target, scale, progress, sign_up, forks: 0, accounts: Vec::new(), filled: BTreeMap::new() })
    }

    /// A new connection.
    ///
    /// # Errors
    /// The host cannot stand in a header.
    pub(crate) fn connection(&self) -> Result<Connection> {
        Connection::new(&self.target.origin)
    }

    /// `count` accounts, the same ones for every scenario; those that are missing are made.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn accounts(&mut self, count: usize) -> Result<&[Account]> {
        if let Some(missing) = count.checked_sub(self.accounts.len()).filter(|missing| *missing > 0) {
            let made = self.new_accounts(missing).await?;
            self.accounts.extend(made);
        }
        Ok(&self.accounts[..count])
    }

    /// `count` accounts of the caller's own.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn new_accounts(&mut self, count: usize) -> Result<Vec<Account>> {
        let calls = (0..count).map(|_| self.sign_up.next_call()).collect::<Result<Vec<_>>>()?;
        let mut made = Vec::with_capacity(count);
        for calls in calls.chunks(SIGN_UPS) {
            let connections = calls.iter().map(|_| self.connection()).collect::<Result<Vec<_>>>()?;
            let asking = calls
                .iter()
                .zip(connections)
                .map(|(call, mut connection)| async move { account(&connection.ask(call).await?) });
            made.extend(try_join_all(asking).await?);
        }
        Ok(made)
    }

    /// How accounts are made, for one of several makers.
    pub(crate) fn fork_sign_up(&mut self) -> SignUp {
        self.forks += 1;
        SignUp { prefix: format!("{}y{}", self.sign_up.prefix, self.forks), made: 0, ..self.sign_up.clone() }
    }

    /// An account whose repository has `records` posts, which the scenarios only read.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn filled(&mut self, records: usize) -> Result<Account> {
        if let Some(account) = self.filled.get(&records) {
            return Ok(account.clone());
        }
        let account = self.new_accounts(1).await?.pop().context("no account")?;
        self.fill(&account, records).await?;
        self.filled.insert(records, account.clone());
        Ok(account)
    }

    /// Adds `records` posts to a repository.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn fill(&self, account: &Account, records: usize) -> Result<()> {
        let mut connection = self.connection()?;
        let mut left = records;
        while left > 0 {
            let batch = left.min(FILL_BATCH);
            connection.send(&post::batch(account, batch)?).await.context("cannot fill a repository")?;
            left -= batch;
            self.progress.fraction(0.0);
        }
        Ok(())
    }

    /// Measures workers for as long as the scale says.
    ///
    /// # Errors
    /// A worker panics.
    pub(crate) async fn measure<W: Work>(&self, workers: Vec<W>) -> Result<Row> {
        self.measure_in(&Arc::default(), workers).await
    }

    /// As [`Session::measure`]; others see by `phase` when the window is open.
    ///
    /// # Errors
    /// A worker panics.
    pub(crate) async fn measure_in<W: Work>(&self, phase: &Arc<Phase>, workers: Vec<W>) -> Result<Row> {
        let (plan, processes) = (self.scale.plan, &self.target.processes);
        measure::run(workers, phase, Setting { plan, processes, progress: &self.progress }).await
    }

    /// Measures `connections` connections that each send all `calls` in turn, each beginning at another one.
    ///
    /// # Errors
    /// A worker panics.
    pub(crate) async fn measure_calls(&self, connections: usize, calls: &[Call]) -> Result<Row> {
        let first = |index: usize| index * calls.len() / connections;
        let workers = (0..connections).map(|index| Ok(Requests::new(self.connection()?, calls.to_vec(), first(index))));
        self.measure(workers.collect::<Result<Vec<_>>>()?).await
    }
}

/// How accounts are made on a server.
#[derive(Clone, Debug)]
pub(crate) struct SignUp {
    domain: String,
    invite_code: Option<String>,
    /// Different in each run, so that a server can be measured again.
    prefix: String,
    made: u32,
}

impl SignUp {
    async fn learn(target: &Target, invite_code: Option<String>) -> Result<Self> {
        let call = Call::query("com.atproto.server.describeServer")?;
        let answer = Connection::new(&target.origin)?.ask(&call).await?;
        let domain = answer["availableUserDomains"][0].as_str().context("the server offers no handles")?.to_owned();
        if answer["inviteCodeRequired"] == true && invite_code.is_none() {
            bail!("{} wants an invite code: give one with --invite-code", target.name);
        }
        let prefix = format!("b{:06x}", rand::random::<u32>() & 0xff_ffff);
        Ok(Self { domain, invite_code, prefix, made: 0 })
    }

    /// The request that makes one more account.
    ///
    /// # Errors
    /// None that can happen.
    pub(crate) fn next_call(&mut self) -> Result<Call> {
        self.made += 1;
        let name = format!("{}x{}", self.prefix, self.made);
        let mut input = json!({
            "handle": format!("{name}{}", self.domain),
            "email": format!("{name}@example.com"),
            "password": PASSWORD,
        });
        if let Some(code) = &self.invite_code {
            input["inviteCode"] = code.as_str().into();
        }
        Call::procedure("com.atproto.server.createAccount", &input)
    }
}

/// The request that signs in to `account`.
///
/// # Errors
/// None that can happen.
pub(crate) fn login(account: &Account) -> Result<Call> {
    let input = json!({ "identifier": account.handle, "password": PASSWORD });
    Call::procedure("com.atproto.server.createSession", &input)
}

/// The account that a sign-up answered with.
fn account(answer: &Value) -> Result<Account> {
    let text = |name: &str| answer[name].as_str().with_context(|| format!("the answer has no {name}"));
    let token = format!("Bearer {}", text("accessJwt")?).parse()?;
    Ok(Account { did: text("did")?.to_owned(), handle: text("handle")?.to_owned(), token })
}
