//! `com.atproto.temp.checkSignupQueue`: whether the caller's account waits to be let in.

use serde::Serialize;

use crate::{
    auth::AccessAuth,
    xrpc::{Method, XrpcJson},
};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.temp.checkSignupQueue");

/// That it does not.
#[derive(Serialize)]
pub struct Output {
    activated: bool,
}

/// There is no queue: whoever has an account has been let in.
pub async fn handle(_: AccessAuth) -> XrpcJson<Output> {
    XrpcJson(Output { activated: true })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn nobody_waits() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let output = api.call(METHOD).bearer(&alice.access).send().await.expect_ok();
        assert_eq!(output, json!({ "activated": true }));
        assert_eq!(api.call(METHOD).send().await.error(), (401, "AuthMissing".to_owned()));
    }
}
