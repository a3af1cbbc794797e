//! The method tree: an NSID is a path below this module (dots become slashes, camel case becomes snake case), one file
//! per method. A method's file has `METHOD`, its parameters, input and output, its errors, and `handle`.
//!
//! To add one: write the file, and add it to its namespace's `register`.

#[expect(unreachable_pub, reason = "a method's file reads the same wherever it is mounted")]
mod app;
#[expect(unreachable_pub, reason = "a method's file reads the same wherever it is mounted")]
mod com;
mod error;
mod extract;
#[expect(unreachable_pub, reason = "a method's file reads the same wherever it is mounted")]
mod internal;
mod method;
mod metrics;
#[cfg(test)]
mod repo_scene;
mod response;
mod routes;
#[cfg(test)]
mod sync_scene;
#[cfg(test)]
mod tests;

pub use error::XrpcError;
pub(crate) use error::{ErrorName, describe_chain, xrpc_errors};
use extract::too_large;
pub use extract::{Limit, NoInput, PlainText, XrpcBody, XrpcQuery, XrpcStream, check_input, present};
pub use method::{DEFAULT_BODY_LIMIT, Kind, Method, RECORD_BODY_LIMIT};
pub use metrics::MethodMetrics;
pub use response::{ResponseHeaders, Shared, XrpcJson, XrpcResult};
pub(crate) use routes::Dispatcher;
pub use routes::Routes;

/// Every method this server answers itself.
pub fn routes() -> Routes {
    let mut routes = Routes::default();
    app::bsky::register(&mut routes);
    com::atproto::register(&mut routes);
    internal::rookery::register(&mut routes);
    routes
}
