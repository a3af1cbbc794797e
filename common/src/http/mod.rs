//! Outgoing HTTP.
//!
//! Two levels of trust. [`internal`] makes a client for services that the operator configured, such as the PLC directory.
//! [`GuardedClient`] is for hosts that users name: it reaches public addresses only, over https, with bounded time and
//! size, and follows no redirect unchecked. No request leaves this server on another way,
//! except those of the AWS SDK to the key management service.

mod address;
mod body;
mod breaker;
mod guard;
mod guarded;

use std::time::Duration;

pub use body::{limited_stream, read_limited};
pub use breaker::{Breaker, BreakerSettings, Pass};
pub use guard::{Blocked, Rules};
pub use guarded::{Document, GuardedClient};
use reqwest::redirect::Policy;
pub use reqwest::{Client, RequestBuilder, Upgraded};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How this server names itself.
const USER_AGENT: &str = concat!("Rookery/", env!("CARGO_PKG_VERSION"));

/// Why an outgoing request failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL, or the address it leads to, is none that a user may make this server call.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// More bytes than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More redirects than allowed, or one that leads nowhere.
    #[error("the answer is a redirect that is not followed")]
    Redirect,
    /// The whole took too long.
    #[error("the answer took too long")]
    Timeout,
    /// No connection, no answer in time, or a broken one.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
}

impl From<reqwest::Error> for FetchError {
    /// A refusal by our own resolver comes out of the client as one of its errors; it is found again here.
    fn from(error: reqwest::Error) -> Self {
        let mut causes =
            std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |&error| error.source());
        match causes.find_map(|error| error.downcast_ref::<Blocked>()) {
            Some(blocked) => Self::Blocked(blocked.clone()),
            None => Self::Request(error),
        }
    }
}

impl FetchError {
    /// True if the time ran out.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Request(error) => error.is_timeout(),
            Self::Blocked(_) | Self::TooLarge { .. } | Self::Redirect => false,
        }
    }
}

/// Makes a client for services of the operator's own choice. `timeout` bounds a whole exchange.
///
/// # Errors
/// If TLS cannot be set up.
pub fn internal(timeout: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .redirect(Policy::none())
        .no_proxy()
        .build()
}

/// Makes a client for streams of the operator's own choice: connections that are upgraded to another protocol, and may stay
/// open for as long as they like.
///
/// # Errors
/// If TLS cannot be set up.
pub fn upgrading() -> Result<Client, reqwest::Error> {
    // Only HTTP/1.1 upgrades a connection.
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .http1_only()
        .redirect(Policy::none())
        .no_proxy()
        .build()
}
