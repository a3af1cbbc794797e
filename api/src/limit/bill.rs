//! What a request takes, from which limits.

use std::sync::Arc;

use common::rate_limit::{Charge, Limit, Subject};

use super::admission::{Caller, Client};
use super::gate::{LiveRule, MethodLimits};
use super::table::By;

/// How many times the points of one of its networks a site has. Most sites use a few of the 65,536 they may have; where each
/// belongs to somebody else, as with some mobile carriers, so many can still use up all of their points at once.
const SITE_SHARE: u32 = 16;

/// What is charged together.
#[derive(Default)]
pub(super) struct Bill {
    pub(super) charges: Vec<Charge>,
    /// What each of these is for.
    pub(super) items: Vec<Item>,
}

/// What a charge is for.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) rule: Arc<LiveRule>,
    /// That of the rule, or, of a site, a multiple of it.
    pub(super) limit: Limit,
}

impl Bill {
    /// What a method takes, as far as it is known who is calling. No points are no charge, as in the reference.
    pub(super) fn new(method: &MethodLimits, client: &Client, caller: Caller<'_>, points: u32) -> Self {
        let mut bill = Self::default();
        let own = method.own().iter().filter(|_| points > 0).map(|rule| (rule, points));
        for (rule, cost) in own.chain(method.global().map(|rule| (rule, 1))) {
            let subject = match (rule.by, caller) {
                (By::Address, _) => Some(client.address.clone()),
                (By::Account, Caller::Account(did)) => Some(Subject::name(did)),
                (By::Name, Caller::Name(name)) => Some(Subject::text(name)),
                (By::NameAndAddress, Caller::Name(name)) => Some(Subject::text(name).and(&client.address)),
                (By::Account | By::Name | By::NameAndAddress, _) => None,
            };
            if let Some(subject) = subject {
                bill.add(rule, rule.limit, &subject, cost);
            }
            if let Some(site) = client.site.as_ref().filter(|_| rule.by == By::Address) {
                let points = rule.limit.points.saturating_mul(SITE_SHARE);
                bill.add(rule, Limit { points, ..rule.limit }, site, cost);
            }
        }
        bill
    }

    fn add(&mut self, rule: &Arc<LiveRule>, limit: Limit, subject: &Subject, cost: u32) {
        self.charges.push(Charge::new(&limit, subject, cost));
        self.items.push(Item { rule: Arc::clone(rule), limit });
    }

    /// The rest, without some.
    pub(super) fn without(self, left_out: impl Fn(&Item) -> bool) -> Self {
        let (charges, items) = self.charges.into_iter().zip(self.items).filter(|(_, item)| !left_out(item)).unzip();
        Self { charges, items }
    }
}
