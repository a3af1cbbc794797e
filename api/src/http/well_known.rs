//! `/.well-known/atproto-did`: says on a handle's own host which DID it stands for.

use atproto::syntax::Handle;
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use common::{account::Accounts, lifecycle::Lifecycle};
use http::{StatusCode, header::HOST};

use crate::xrpc::XrpcError;

/// The DID as text, if the host is the handle of an active account below a service domain; else 404.
pub(super) async fn atproto_did(
    State(accounts): State<Accounts>,
    State(lifecycle): State<Lifecycle>,
    request: Request,
) -> Response {
    let host = host(&request).filter(|host| lifecycle.handles().is_service_host(host));
    let Some(handle) = host.and_then(|host| host.parse::<Handle>().ok()) else { return not_found() };
    match accounts.find_by_handle(&handle).await {
        Ok(Some(account)) if account.status.is_active() => account.did.to_string().into_response(),
        Ok(_) => not_found(),
        Err(error) => {
            let status = XrpcError::internal(error).status;
            (status, status.canonical_reason().unwrap_or_default()).into_response()
        }
    }
}

/// The host the request was sent to, in lower case, without a port. HTTP/2 has it in the URL.
fn host(request: &Request) -> Option<String> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => request.headers().get(HOST)?.to_str().ok()?.parse().ok()?,
    };
    Some(authority.host().to_ascii_lowercase())
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "User not found").into_response()
}

#[cfg(test)]
mod tests {
    use crate::testing::TestApi;

    #[tokio::test]
    async fn a_handles_host_names_its_did() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let ask = async |host: &str| {
            let reply = api.get("/.well-known/atproto-did").header("host", host).send().await;
            (reply.status.as_u16(), reply.text)
        };
        for host in ["alice.test", "Alice.Test", "alice.test:2583"] {
            assert_eq!(ask(host).await, (200, alice.did.clone()), "{host}");
        }
        for host in ["bob.test", "test", "alice.example.com", "localhost", "al_ice.test"] {
            assert_eq!(ask(host).await, (404, "User not found".to_owned()), "{host}");
        }
        common::testing::seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(ask("alice.test").await.0, 404);
    }
}
