//! What this process knows to be used up, so that a flood of requests that are refused anyway need not be counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

use super::window::{Charge, Refusal, Window};

/// How many windows are remembered.
const MOST_WINDOWS: usize = 10_000;
/// How long it is believed. Only so long does it take to be noticed that somebody gave points back by hand.
const BELIEF: Duration = Duration::from_secs(1);

/// Windows without points left. What is used of a window only grows until its end, so what was refused once is refused
/// until then.
pub(super) struct Spent(Mutex<Cache<String, Known>>);

#[derive(Clone, Copy)]
struct Known {
    window: Window,
    /// When that was, by the clock of the windows and by ours.
    now_ms: u64,
    at: Instant,
}

impl Spent {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Cache::new(MOST_WINDOWS)))
    }

    /// Notes that a charge was refused.
    pub(super) fn note(&self, charge: &Charge, refusal: &Refusal) {
        let known = Known { window: refusal.window, now_ms: refusal.now_ms, at: Instant::now() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(charge.key.clone(), known);
    }

    /// A charge that will be refused, if one of these is known to be.
    pub(super) fn find(&self, charges: &[Charge]) -> Option<Refusal> {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.is_empty() {
            return None;
        }
        let refusals = charges.iter().enumerate().filter_map(|(index, charge)| {
            let known = spent.peek(&charge.key)?;
            let age = known.at.elapsed();
            let now_ms = known.now_ms + u64::try_from(age.as_millis()).ok()?;
            let refused = age < BELIEF && now_ms < known.window.ends_ms && !known.window.has_room_for(charge);
            refused.then_some(Refusal { charge: index, window: known.window, now_ms })
        });
        refusals.max_by_key(|refusal| refusal.window.ends_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limit, Subject};
    use super::*;

    #[test]
    fn only_what_would_be_refused_is_found() {
        const LIMIT: Limit = Limit { name: "hour", points: 10, window: Duration::from_hours(1) };
        let charge = |subject: &str, cost| Charge::new(&LIMIT, &Subject::name(subject), cost);
        let (spent, now_ms) = (Spent::new(), 1_000_000);
        let window = |used, lasts| Window { used, ends_ms: now_ms + lasts };
        let note = |subject, window| spent.note(&charge(subject, 1), &Refusal { charge: 0, window, now_ms });
        assert_eq!(spent.find(&[charge("a", 1)]), None);
        note("a", window(10, 3_600_000));
        note("b", window(8, 7_200_000));
        note("over", window(10, 0));
        let found = spent.find(&[charge("c", 1), charge("a", 1)]).unwrap();
        assert_eq!((found.charge, found.window), (1, window(10, 3_600_000)));
        assert!(found.now_ms >= now_ms);
        assert_eq!(spent.find(&[charge("b", 2)]), None, "there is room for this one");
        assert_eq!(spent.find(&[charge("a", 1), charge("b", 3)]).unwrap().charge, 1, "the one that lasts longer");
        assert_eq!(spent.find(&[charge("over", 1)]), None);
    }
}
