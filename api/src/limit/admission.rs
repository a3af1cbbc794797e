//! One request on its way past its limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atproto::syntax::Did;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use common::rate_limit::{Charge, Refusal, Subject};
use http::request::Parts;

use super::answer;
use super::gate::{LiveRule, MethodLimits};
use super::table::{By, Due};
use crate::xrpc::{ResponseHeaders, XrpcError};

/// What a request still has to be charged for; in its extensions.
///
/// A handler takes it where the limits of its method count by something in the input, and says so before it does any work
/// that costs something. Without limits, all its methods do nothing.
#[derive(Clone, Default)]
pub struct Admission(Option<Arc<Pending>>);

struct Pending {
    method: Arc<MethodLimits>,
    address: Subject,
    headers: ResponseHeaders,
    /// A request is charged once, with all its limits together.
    charged: AtomicBool,
}

/// Who a request is from, as far as that is known.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    Nobody,
    Account(&'a Did),
    Name(&'a str),
}

impl Admission {
    pub(super) fn new(method: Arc<MethodLimits>, address: Subject, headers: ResponseHeaders) -> Self {
        Self(Some(Arc::new(Pending { method, address, headers, charged: AtomicBool::new(false) })))
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
        self.charge(Caller::Name(&name.trim().to_ascii_lowercase()), 1).await
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

    /// Charges a request that was answered before all was known about it, as one with a bad token, for what is known. Its
    /// client learns nothing by going on like that.
    pub(crate) async fn settle(self, response: Response) -> Response {
        match self.charge(Caller::Nobody, 1).await {
            Ok(()) => response,
            Err(refusal) => refusal.into_response(),
        }
    }
}

impl Pending {
    async fn charge(&self, caller: Caller<'_>, points: u32) -> Result<(), XrpcError> {
        if self.charged.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let (rules, charges): (Vec<_>, Vec<_>) = self.charges(caller, points).unzip();
        match self.method.windows().charge(&charges).await {
            Ok(windows) => {
                let limits = rules.iter().map(|rule| &rule.limit);
                answer::describe_tightest(&self.headers, limits.zip(&windows));
                Ok(())
            }
            Err(refusal) => Err(self.refuse(&rules, &refusal)),
        }
    }

    fn foresee(&self) -> Result<(), XrpcError> {
        let (rules, charges): (Vec<_>, Vec<_>) = self.charges(Caller::Nobody, 1).unzip();
        self.method.windows().foresee(&charges).map_err(|refusal| self.refuse(&rules, &refusal))
    }

    fn refuse(&self, rules: &[&Arc<LiveRule>], refusal: &Refusal) -> XrpcError {
        if let Some(rule) = rules.get(refusal.charge) {
            rule.refused.increment();
            answer::describe(&self.headers, &rule.limit, &refusal.window);
        }
        answer::refusal(refusal)
    }

    /// What is to be charged, as far as it is known. No points are no charge, as in the reference.
    fn charges(&self, caller: Caller<'_>, points: u32) -> impl Iterator<Item = (&Arc<LiveRule>, Charge)> {
        let own = self.method.own().iter().filter(move |_| points > 0).map(move |rule| (rule, points));
        let global = self.method.global().map(|rule| (rule, 1));
        let subject = move |rule: &LiveRule| match (rule.by, caller) {
            (By::Address, _) => Some(self.address.clone()),
            (By::Account, Caller::Account(did)) => Some(Subject::name(did)),
            (By::Name, Caller::Name(name)) => Some(Subject::text(name)),
            (By::NameAndAddress, Caller::Name(name)) => Some(Subject::text(name).and(&self.address)),
            (By::Account | By::Name | By::NameAndAddress, _) => None,
        };
        own.chain(global).filter_map(move |(rule, cost)| Some((rule, Charge::new(&rule.limit, &subject(rule)?, cost))))
    }
}

impl<S: Sync> FromRequestParts<S> for Admission {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Charges a request whose account is known now, and nothing else awaited: every extractor of a caller with an account does
/// so as soon as it believes who they are.
///
/// # Errors
/// 429 if a limit is used up.
pub(crate) async fn charge_caller(parts: &Parts, account: &Did) -> Result<(), XrpcError> {
    let pending = parts.extensions.get::<Admission>().and_then(|admission| admission.0.as_deref());
    match pending.filter(|pending| pending.method.due() == Due::WithCaller) {
        Some(pending) => pending.charge(Caller::Account(account), pending.method.cost()).await,
        None => Ok(()),
    }
}
