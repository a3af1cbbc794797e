//! What a connection is at.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Version};
use tokio::time::Instant;

use super::Limits;

/// What the socket and the requests of one connection tell of themselves, and what follows for how long it may go on.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests that are not answered to the end.
    requests: usize,
    /// Requests that are answered and go on arriving. A server that stops does not wait for them.
    lingering: usize,
    /// There was a request.
    used: bool,
    /// HTTP/2: what arrives need not be the head of a request.
    multiplexed: bool,
    /// A request was turned into a WebSocket that stays in the connection.
    tunnel: bool,
    /// Since when there are no requests.
    quiet_since: Instant,
    /// Since when a request's head is arriving.
    head_since: Option<Instant>,
    /// Since when the client takes nothing.
    blocked_since: Option<Instant>,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            requests: 0,
            lingering: 0,
            used: false,
            multiplexed: false,
            tunnel: false,
            quiet_since: now,
            head_since: None,
            blocked_since: None,
        }))
    }

    /// Something was read.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.requests == 0 && state.lingering == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// The client takes no more for now.
    pub(super) fn blocked(&self) {
        self.state().blocked_since.get_or_insert_with(Instant::now);
    }

    /// The client took something.
    pub(super) fn unblocked(&self) {
        self.state().blocked_since = None;
    }

    /// A request arrived. It lasts as long as what is given back.
    pub(super) fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> Counted {
        let mut state = self.state();
        state.requests += 1;
        state.used = true;
        state.multiplexed |= request.version() == Version::HTTP_2;
        state.tunnel |= request.method() == Method::CONNECT;
        state.head_since = None;
        drop(state);
        Counted(Arc::clone(self))
    }

    /// A request that was answered is still arriving. It lasts as long as what is given back.
    pub(super) fn linger(self: &Arc<Self>) -> Lingering {
        self.state().lingering += 1;
        Lingering(Arc::clone(self))
    }

    /// True if there was never a request.
    pub(super) fn is_unused(&self) -> bool {
        !self.state().used
    }

    /// When to look again; if that is not later than `now`, the connection has had its time.
    pub(super) fn deadline(&self, limits: &Limits, now: Instant) -> Instant {
        let state = self.state();
        if let Some(since) = state.blocked_since {
            return since + limits.stall;
        }
        if state.is_busy() || state.lingering > 0 {
            return now + limits.stall;
        }
        match state.head_since {
            Some(since) if !state.multiplexed => since + limits.head,
            _ if !state.used => state.quiet_since + limits.head,
            _ => state.quiet_since + limits.idle,
        }
    }

    /// When to look again while the server stops; `None` if there is nothing left to wait for.
    pub(super) fn farewell(&self, limits: &Limits, now: Instant) -> Option<Instant> {
        self.state().is_busy().then(|| now + limits.farewell)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_busy(&self) -> bool {
        self.requests > 0 || self.tunnel
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Counted(Arc<Activity>);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A request that goes on arriving.
#[derive(Debug)]
pub(super) struct Lingering(Arc<Activity>);

impl Drop for Lingering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.lingering -= 1;
        state.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits::with_grace(Duration::from_secs(10));

    fn request(method: Method, version: Version) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.version_mut() = version;
        request
    }

    fn start() -> (Arc<Activity>, Instant) {
        let now = Instant::now();
        (Arc::new(Activity::new(now)), now)
    }

    /// Checks that the deadline is `limit` from a moment since `since`. The limits are far apart.
    fn assert_limit(activity: &Activity, since: Instant, limit: Duration) {
        let deadline = activity.deadline(&LIMITS, Instant::now());
        assert!((since + limit..=Instant::now() + limit).contains(&deadline), "{activity:?}");
    }

    #[test]
    fn a_first_request_comes_soon_and_is_not_prolonged_by_each_byte() {
        let (activity, start) = start();
        assert_eq!(activity.deadline(&LIMITS, Instant::now()), start + LIMITS.head);
        activity.received();
        let deadline = activity.deadline(&LIMITS, Instant::now());
        activity.received();
        assert_eq!(activity.deadline(&LIMITS, Instant::now()), deadline);
        assert_limit(&activity, start, LIMITS.head);
    }

    #[test]
    fn what_lingers_has_its_time_but_keeps_no_server_from_stopping() {
        let (activity, start) = start();
        drop(activity.begin(&request(Method::POST, Version::HTTP_11)));
        let lingering = activity.linger();
        activity.received();
        let later = start + Duration::from_hours(1);
        assert_eq!(activity.deadline(&LIMITS, later), later + LIMITS.stall);
        assert_eq!(activity.farewell(&LIMITS, later), None);
        drop(lingering);
        assert_limit(&activity, start, LIMITS.idle);
    }

    #[test]
    fn a_request_takes_its_time_and_the_next_may_be_late_but_not_slow() {
        let (activity, start) = start();
        let counted = activity.begin(&request(Method::GET, Version::HTTP_11));
        activity.received();
        let later = start + Duration::from_hours(1);
        assert_eq!(activity.deadline(&LIMITS, later), later + LIMITS.stall);
        drop(counted);
        assert_limit(&activity, start, LIMITS.idle);
        activity.received();
        assert_limit(&activity, start, LIMITS.head);
    }

    #[test]
    fn on_http2_pings_are_no_heads() {
        let (activity, start) = start();
        drop(activity.begin(&request(Method::GET, Version::HTTP_2)));
        activity.received();
        assert_limit(&activity, start, LIMITS.idle);
    }

    #[test]
    fn a_websocket_within_the_connection_keeps_it() {
        let (activity, start) = start();
        drop(activity.begin(&request(Method::CONNECT, Version::HTTP_2)));
        assert_limit(&activity, start, LIMITS.stall);
        assert_eq!(activity.farewell(&LIMITS, start), Some(start + LIMITS.farewell));
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_even_within_a_request() {
        let (activity, start) = start();
        let _counted = activity.begin(&request(Method::GET, Version::HTTP_11));
        activity.blocked();
        let deadline = activity.deadline(&LIMITS, Instant::now());
        activity.blocked();
        let later = start + Duration::from_hours(1);
        assert_eq!(activity.deadline(&LIMITS, later), deadline);
        activity.unblocked();
        assert_eq!(activity.deadline(&LIMITS, later), later + LIMITS.stall);
    }

    #[test]
    fn a_stop_waits_for_requests_only() {
        let (activity, start) = start();
        assert!(activity.is_unused());
        let counted = activity.begin(&request(Method::GET, Version::HTTP_11));
        assert!(!activity.is_unused());
        assert_eq!(activity.farewell(&LIMITS, start), Some(start + LIMITS.farewell));
        drop(counted);
        assert_eq!(activity.farewell(&LIMITS, start), None);
    }
}
