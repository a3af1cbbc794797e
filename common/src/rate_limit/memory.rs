//! Counting in this process: by the same rules as the script, for a server without Redis and while Redis is away.

use std::sync::{Mutex, PoisonError};

use quick_cache::unsync::Cache;

use super::window::{Charge, Outcome, Window};

/// How many windows are remembered: some 20 MB. Beyond that those go that were asked for least lately, so a stranger who
/// comes from ever new addresses pushes out addresses that came once, not those that come often.
const MOST_WINDOWS: usize = 100_000;

/// The windows of this process.
pub(super) struct Memory(Mutex<Cache<String, Window>>);

impl Memory {
    pub(super) fn new() -> Self {
        Self::with_capacity(MOST_WINDOWS)
    }

    fn with_capacity(windows: usize) -> Self {
        Self(Mutex::new(Cache::new(windows)))
    }

    /// Charges a request at a time in milliseconds since 1970.
    pub(super) fn charge(&self, now_ms: u64, charges: &[Charge]) -> Outcome {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = foresee(&windows, now_ms, charges);
        if outcome.admitted {
            for (window, charge) in outcome.windows.iter_mut().zip(charges) {
                window.used += charge.cost;
                windows.insert(charge.key.clone(), *window);
            }
        }
        outcome
    }

    /// What charges would come to; charges nothing.
    pub(super) fn foresee(&self, now_ms: u64, charges: &[Charge]) -> Outcome {
        foresee(&self.0.lock().unwrap_or_else(PoisonError::into_inner), now_ms, charges)
    }

    /// How many windows are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn foresee(windows: &Cache<String, Window>, now_ms: u64, charges: &[Charge]) -> Outcome {
    let window = |charge: &Charge| {
        let window = windows.get(&charge.key).copied().filter(|window| window.ends_ms > now_ms);
        window.unwrap_or(Window { used: 0, ends_ms: now_ms.saturating_add(charge.length_ms) })
    };
    let windows: Vec<Window> = charges.iter().map(window).collect();
    let admitted = windows.iter().zip(charges).all(|(window, charge)| window.has_room_for(charge));
    Outcome { admitted, now_ms, windows }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Limit, Subject};
    use super::*;

    const SHORT: Limit = Limit { name: "short", points: 3, window: Duration::from_millis(100) };
    const LONG: Limit = Limit { name: "long", points: 5, window: Duration::from_secs(1) };

    fn charges(subject: &str, cost: u32) -> [Charge; 2] {
        [SHORT, LONG].map(|limit| Charge::new(&limit, &Subject::name(subject), cost))
    }

    #[test]
    fn all_limits_are_charged_or_none() {
        let memory = Memory::new();
        let charge = |now, subject, cost| {
            let Outcome { admitted, windows, .. } = memory.charge(now, &charges(subject, cost));
            (admitted, windows.iter().map(|window| (window.used, window.ends_ms)).collect::<Vec<_>>())
        };
        assert_eq!(charge(10, "a", 2), (true, vec![(2, 110), (2, 1010)]));
        assert_eq!(charge(20, "a", 2), (false, vec![(2, 110), (2, 1010)]), "the long one was not charged");
        assert_eq!(charge(20, "a", 1), (true, vec![(3, 110), (3, 1010)]));
        assert_eq!(charge(20, "b", 3), (true, vec![(3, 120), (3, 1020)]), "somebody else");
        assert_eq!(charge(109, "a", 1), (false, vec![(3, 110), (3, 1010)]));
        assert_eq!(charge(110, "a", 2), (true, vec![(2, 210), (5, 1010)]), "a new window");
        assert_eq!(charge(500, "a", 1), (false, vec![(0, 600), (5, 1010)]), "the other one is empty");
        assert_eq!(charge(1010, "a", 3), (true, vec![(3, 1110), (3, 2010)]));
        assert_eq!(charge(1010, "c", 4), (false, vec![(0, 1110), (0, 2010)]), "more than there ever is");
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_often_stays() {
        let memory = Memory::with_capacity(100);
        for stranger in 0..10_000 {
            let regular = memory.charge(1, &charges("regular", u32::from(stranger < 3)));
            assert!(regular.windows[0].used == 3 || stranger < 3, "{stranger}");
            memory.charge(1, &charges(&stranger.to_string(), 1));
        }
        assert!(memory.len() <= 100);
    }
}
