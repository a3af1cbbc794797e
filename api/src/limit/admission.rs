//! One request on its way past its limits.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atproto::syntax::Did;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use common::rate_limit::{Refusal, Subject};
use http::request::Parts;
use tokio::runtime::Handle;

use super::answer;
use super::bill::{Bill, Item};
use super::gate::MethodLimits;
use super::table::{By, Due};
use crate::xrpc::{ResponseHeaders, XrpcError};

/// What a request still has to be charged for; in its extensions.
///
/// A handler takes it where the limits of its method count by something in the input, and says so before it does any work
/// that costs something. Without limits, all its methods do nothing.
#[derive(Clone, Default)]
pub struct Admission(Option<Arc<Pending>>);

pub(super) struct Pending {
    method: Arc<MethodLimits>,
    client: Client,
    headers: ResponseHeaders,
    /// A request is charged once, with all its limits together,
    charged: AtomicBool,
    /// but with those of its address before, if it costs something to learn more.
    charged_address: AtomicBool,
}

/// Where a request is from.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) address: Subject,
    /// All networks that they may have; of version 6 only.
    pub(super) site: Option<Subject>,
}

/// Who a request is from, as far as that is known.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    Nobody,
    Account(&'a Did),
    Name(&'a str),
}

/// Whether somebody may try a password.
#[must_use = "who may try only from an address that is known has to be looked at"]
pub enum PasswordTry {
    /// They may.
    Admitted,
    /// The limits of the name alone are used up, by whomever: only from where its account was signed in to lately.
    IfKnown(UsedUp),
}

/// A limit that is used up.
pub struct UsedUp {
    pending: Arc<Pending>,
    item: Item,
    refusal: Refusal,
}

impl Client {
    pub(super) fn new(ip: IpAddr) -> Self {
        Self { address: Subject::address(ip), site: Subject::site(ip) }
    }
}

impl Admission {
    pub(super) fn new(method: Arc<MethodLimits>, client: Client, headers: ResponseHeaders) -> Self {
        let (charged, charged_address) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Some(Arc::new(Pending { method, client, headers, charged, charged_address })))
    }

    /// Charges a request that takes so many points of what its account has.
    ///
    /// # Errors
    /// 429 if a limit is used up.
    pub async fn charge_account(&self, account: &Did, points: u32) -> Result<(), XrpcError> {
        self.charge(Caller::Account(account), points).await
    }

    /// Charges a request with which somebody claims to be `name`: a handle, a DID or an e-mail address, which is counted as
    /// it is written. What name belongs to which account would otherwise show in what is refused.
    ///
    /// # Errors
    /// 429 if a limit is used up.
    pub async fn charge_name(&self, name: &str) -> Result<(), XrpcError> {
        self.charge(Caller::Name(&plain(name)), 1).await
    }

    /// As [`Admission::charge_name`], for who shows a password. If nothing but the limits of the name, from wherever, is used
    /// up, the request is charged for the rest, and the caller decides: strangers must not be able to keep an owner out.
    ///
    /// # Errors
    /// 429 if another limit is used up.
    pub async fn charge_password(&self, name: &str) -> Result<PasswordTry, XrpcError> {
        match &self.0 {
            Some(pending) => pending.charge_password(&plain(name)).await,
            None => Ok(PasswordTry::Admitted),
        }
    }

    /// The client's address, as limits count it; `None` of a request without limits.
    pub fn address(&self) -> Option<&str> {
        self.0.as_deref().map(|pending| pending.client.address.as_str())
    }

    pub(super) async fn charge(&self, caller: Caller<'_>, points: u32) -> Result<(), XrpcError> {
        match self.0.as_deref() {
            Some(pending) => pending.charge(caller, points).await,
            None => Ok(()),
        }
    }

    /// Refuses at once what is known to be refused later, when the caller or the input is known.
    pub(super) fn foresee(&self) -> Result<(), XrpcError> {
        self.0.as_deref().map_or(Ok(()), Pending::foresee)
    }
}

/// Names are counted as they are written, but for what sign-ins do not look at.
fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

impl Pending {
    async fn charge(&self, caller: Caller<'_>, points: u32) -> Result<(), XrpcError> {
        if self.charged.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.pay(&self.bill(caller, points)).await
    }

    /// Charges for the address, whatever becomes known later.
    async fn charge_address(&self) -> Result<(), XrpcError> {
        if self.charged.load(Ordering::Relaxed) || self.charged_address.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.pay(&Bill::new(&self.method, &self.client, Caller::Nobody, self.method.cost())).await
    }

    async fn charge_password(self: &Arc<Self>, name: &str) -> Result<PasswordTry, XrpcError> {
        if self.charged.swap(true, Ordering::Relaxed) {
            return Ok(PasswordTry::Admitted);
        }
        let bill = self.bill(Caller::Name(name), 1);
        let Err((item, refusal)) = self.try_pay(&bill).await else { return Ok(PasswordTry::Admitted) };
        if item.rule.by != By::Name {
            return Err(self.refuse(&item, &refusal));
        }
        // It takes questions to Postgres to learn more, so nobody may ask for free.
        self.pay(&bill.without(|item| item.rule.by == By::Name)).await?;
        Ok(PasswordTry::IfKnown(UsedUp { pending: Arc::clone(self), item, refusal }))
    }

    fn foresee(&self) -> Result<(), XrpcError> {
        let bill = self.bill(Caller::Nobody, 1);
        let foreseen = self.method.windows().foresee(&bill.charges);
        foreseen.map_err(|refusal| self.refuse(&bill.items[refusal.charge], &refusal))
    }

    /// What is to be charged, as far as it is known, and was not yet.
    fn bill(&self, caller: Caller<'_>, points: u32) -> Bill {
        let bill = Bill::new(&self.method, &self.client, caller, points);
        if self.charged_address.load(Ordering::Relaxed) {
            bill.without(|item| item.rule.by == By::Address)
        } else {
            bill
        }
    }

    async fn pay(&self, bill: &Bill) -> Result<(), XrpcError> {
        self.try_pay(bill).await.map_err(|(item, refusal)| self.refuse(&item, &refusal))
    }

    async fn try_pay(&self, bill: &Bill) -> Result<(), (Item, Refusal)> {
        match self.method.windows().charge(&bill.charges).await {
            Ok(windows) => {
                answer::describe_tightest(&self.headers, bill.items.iter().map(|item| &item.limit).zip(&windows));
                Ok(())
            }
            Err(refusal) => Err((bill.items[refusal.charge].clone(), refusal)),
        }
    }

    fn refuse(&self, item: &Item, refusal: &Refusal) -> XrpcError {
        item.rule.refused.increment();
        answer::describe(&self.headers, &item.limit, &refusal.window);
        answer::refusal(refusal)
    }
}

impl UsedUp {
    /// Refuses the request.
    pub fn refuse(self) -> XrpcError {
        self.pending.refuse(&self.item, &self.refusal)
    }
}

impl<S: Sync> FromRequestParts<S> for Admission {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// A request that was let in, until it is answered.
///
/// Whatever becomes of it, it is charged: dropped, because its client is gone before all was known about it, for what is
/// known by then.
pub(crate) struct Visit(Admission);

impl Visit {
    pub(super) fn new(admission: Admission) -> Self {
        Self(admission)
    }

    /// Charges a request that was answered before all was known about it, as one with a bad token, for what is known. Its
    /// client learns nothing by going on like that.
    pub(crate) async fn settle(self, response: Response) -> Response {
        match self.0.charge(Caller::Nobody, 1).await {
            Ok(()) => response,
            Err(refusal) => refusal.into_response(),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Some(pending) = self.0.0.take().filter(|pending| !pending.charged.load(Ordering::Relaxed)) else { return };
        // Without a runtime the server is gone as well.
        if let Ok(runtime) = Handle::try_current() {
            // Nobody is there to be refused.
            runtime.spawn(async move { drop(pending.charge(Caller::Nobody, 1).await) });
        }
    }
}

/// Charges a request whose account is known now, and nothing else awaited: every extractor of a caller with an account does
/// so as soon as it believes who they are.
///
/// # Errors
/// 429 if a limit is used up.
pub(crate) async fn charge_caller(parts: &Parts, account: &Did) -> Result<(), XrpcError> {
    match pending(parts).filter(|pending| pending.method.due() == Due::WithCaller) {
        Some(pending) => pending.charge(Caller::Account(account), pending.method.cost()).await,
        None => Ok(()),
    }
}

/// Charges a request for its address now, because it costs something to learn who is calling: an extractor does so before it
/// asks another server. The rest is charged when it is known.
///
/// # Errors
/// 429 if a limit is used up.
pub(crate) async fn charge_address(parts: &Parts) -> Result<(), XrpcError> {
    match pending(parts) {
        Some(pending) => pending.charge_address().await,
        None => Ok(()),
    }
}

fn pending(parts: &Parts) -> Option<&Pending> {
    parts.extensions.get::<Admission>()?.0.as_deref()
}
