//! What stands before each method.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use common::clock::Clock;
use common::config::Config;
use common::rate_limit::{Limit, RateLimits};
use common::telemetry::metrics::{Counter, Exposition};

use super::admission::{Admission, Caller, Client, Visit};
use super::exempt::Exemptions;
use super::table::{self, By, Due, Row};
use crate::http::ClientIp;
use crate::xrpc::{ResponseHeaders, XrpcError};

/// The limits of this server; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Limits(Option<Arc<Shared>>);

/// What the limits of all methods have in common.
#[derive(Debug)]
struct Shared {
    windows: RateLimits,
    exemptions: Exemptions,
    config: Arc<Config>,
    /// By name; those that were taken away are missing.
    rules: BTreeMap<&'static str, Arc<LiveRule>>,
}

/// A limit with the points that the operator gave it.
#[derive(Debug)]
pub(super) struct LiveRule {
    pub(super) limit: Limit,
    pub(super) by: By,
    pub(super) refused: Counter,
}

/// The settings name limits that there are not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("PDS_RATE_LIMIT_POINTS names no limit with {}; there are {}", .unknown.join(", "), .known.join(", "))]
pub struct UnknownLimits {
    unknown: Vec<String>,
    known: Vec<&'static str>,
}

/// The limits of one method.
#[derive(Debug)]
pub(super) struct MethodLimits {
    shared: Arc<Shared>,
    own: Vec<Arc<LiveRule>>,
    global: Option<Arc<LiveRule>>,
    cost: u32,
    due: Due,
}

/// Stands before a method. Without limits it is open, and costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Option<Arc<MethodLimits>>);

impl Limits {
    /// The limits of a server with these settings; none unless they are enabled. Begins to connect to Redis, on the
    /// current tokio runtime.
    ///
    /// # Errors
    /// If the settings give points to a limit that there is not.
    pub fn start(config: &Arc<Config>, clock: &Clock) -> Result<Self, UnknownLimits> {
        let rules = rules(&config.rate_limit.points)?;
        if !config.rate_limit.enabled {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(Shared {
            windows: RateLimits::start(config.redis.as_ref(), clock.clone()),
            exemptions: Exemptions::new(&config.rate_limit),
            config: Arc::clone(config),
            rules,
        }))))
    }

    /// Waits until it is known whether Redis answers, so that the first requests are counted where all others are.
    pub async fn settled(&self) {
        if let Some(shared) = &self.0 {
            shared.windows.settled().await;
        }
    }

    /// What stands before a method, or, without a name, before what is no method of ours.
    pub(crate) fn gate(&self, method: Option<&'static str>) -> Gate {
        let row = table::METHODS.iter().find(|row| Some(row.method) == method);
        let Row { rules, cost, due, global, .. } = row.copied().unwrap_or(table::OTHERS);
        Gate(self.0.as_ref().map(|shared| {
            let live = |name| shared.rules.get(name).cloned();
            Arc::new(MethodLimits {
                own: rules.iter().filter_map(|rule| live(rule.limit.name)).collect(),
                global: live(table::GLOBAL.limit.name).filter(|_| global),
                cost,
                due,
                shared: Arc::clone(shared),
            })
        }))
    }

    /// Writes what was refused, and how counting goes.
    pub(crate) fn expose(&self, text: &mut Exposition) {
        let Some(shared) = &self.0 else { return };
        let refused = "pds_rate_limit_refused_total";
        text.counters(refused, "Requests refused, by the limit that was used up.");
        for (name, rule) in &shared.rules {
            text.sample(refused, &[("limit", name)], rule.refused.get());
        }
        shared.windows.expose(text);
    }
}

/// All rules with other points for some, without those that have none.
fn rules(points: &BTreeMap<String, u32>) -> Result<BTreeMap<&'static str, Arc<LiveRule>>, UnknownLimits> {
    let all = table::rules();
    let known: Vec<_> = all.iter().map(|rule| rule.limit.name).collect();
    let unknown: Vec<_> = points.keys().filter(|name| !known.contains(&name.as_str())).cloned().collect();
    if !unknown.is_empty() {
        return Err(UnknownLimits { unknown, known });
    }
    let live = all.into_iter().filter_map(|rule| {
        let points = points.get(rule.limit.name).copied().unwrap_or(rule.limit.points);
        let limit = Limit { points, ..rule.limit };
        (points > 0).then(|| (limit.name, Arc::new(LiveRule { limit, by: rule.by, refused: Counter::new() })))
    });
    Ok(live.collect())
}

impl Gate {
    /// Lets a request in, or refuses it. What comes of it goes through [`Visit::settle`].
    ///
    /// What counts by the address only is charged here, before anything else is looked at. Of the rest, whoever works the
    /// request out charges it as soon as it knows the caller or the input; the visit charges it if nobody does.
    ///
    /// # Errors
    /// 429 if a limit is used up.
    pub(crate) async fn enter(&self, request: &mut Request, headers: &ResponseHeaders) -> Result<Visit, XrpcError> {
        let Some(method) = &self.0 else { return Ok(Visit::new(Admission::default())) };
        let Some(admission) = method.admit(request, headers)? else { return Ok(Visit::new(Admission::default())) };
        if method.due == Due::AtOnce {
            admission.charge(Caller::Nobody, method.cost).await?;
        } else {
            admission.foresee()?;
        }
        request.extensions_mut().insert(admission.clone());
        Ok(Visit::new(admission))
    }
}

impl MethodLimits {
    /// The limits of a request; `None` if it is exempt.
    fn admit(self: &Arc<Self>, request: &Request, headers: &ResponseHeaders) -> Result<Option<Admission>, XrpcError> {
        let shared = &self.shared;
        let ClientIp(ip) = ClientIp::of(request.extensions(), request.headers(), &shared.config)?;
        if shared.exemptions.apply(request.headers(), ip) {
            return Ok(None);
        }
        Ok(Some(Admission::new(Arc::clone(self), Client::new(ip), headers.clone())))
    }

    pub(super) fn windows(&self) -> &RateLimits {
        &self.shared.windows
    }

    /// What counts for this method besides the global limit.
    pub(super) fn own(&self) -> &[Arc<LiveRule>] {
        &self.own
    }

    pub(super) fn global(&self) -> Option<&Arc<LiveRule>> {
        self.global.as_ref()
    }

    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    pub(super) fn due(&self) -> Due {
        self.due
    }
}
