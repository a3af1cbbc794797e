//! `com.atproto.admin.sendEmail`: has a moderator's message mailed to an account's owner.

use atproto::syntax::Did;
use axum::extract::State;
use common::admin::{Administration, Message, MessageError};
use serde::{Deserialize, Serialize};

use crate::auth::ModeratorAuth;
use crate::xrpc::{Method, PlainText, XrpcBody, XrpcError, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.sendEmail");

/// What, to whom. `senderDid` is not looked at: who calls is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    recipient_did: Did,
    /// HTML.
    content: PlainText,
    subject: Option<PlainText>,
    /// Kept in the audit log.
    comment: Option<PlainText>,
}

/// Whether the message is on its way.
#[derive(Serialize)]
pub struct Output {
    sent: bool,
}

/// Answers once the message is stored; a worker sends it.
pub async fn handle(
    State(admin): State<Administration>,
    auth: ModeratorAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let message = Message {
        subject: input.subject.map(|subject| subject.0).filter(|subject| !subject.is_empty()),
        html: input.content.0,
        comment: input.comment.map(|comment| comment.0),
    };
    admin.send_message(auth.actor(), &input.recipient_did, message).await?;
    Ok(XrpcJson(Output { sent: true }))
}

impl From<MessageError> for XrpcError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::NotFound | MessageError::NoAddress => Self::invalid_request(error),
            MessageError::Storage(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::internal::rookery::admin::list_audit_log;

    #[tokio::test]
    async fn a_message_is_stored_for_the_worker() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let send = async |input: Value| api.call(METHOD).admin().json(&input).send().await;
        let message = json!({
            "recipientDid": alice.did, "senderDid": "did:plc:moderator", "content": "<p>Please.</p>", "comment": "case 9"
        });
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(send(message.clone()).await.expect_ok(), json!({ "sent": true }));
        let log = api.call(list_audit_log::METHOD).admin().send().await.expect_ok();
        let expected = json!({ "subject": "Message via your PDS", "comment": "case 9" });
        assert_eq!((&log["entries"][0]["subject"], &log["entries"][0]["after"]), (&json!(alice.did), &expected));

        let mut unknown = message.clone();
        unknown["recipientDid"] = json!("did:plc:unknown");
        let refused = send(unknown).await.error_with_message();
        assert_eq!(refused, (400, "InvalidRequest".to_owned(), "Recipient not found".to_owned()));
        let mut nul = message.clone();
        nul["content"] = json!("\u{0}");
        assert_eq!(send(nul).await.error(), (400, "InvalidRequest".to_owned()));
        assert_eq!(send(json!({})).await.error(), (400, "InvalidRequest".to_owned()));
        let log = api.call(list_audit_log::METHOD).admin().send().await.expect_ok();
        assert_eq!(log["entries"].as_array().unwrap().len(), 1, "what is refused is not an act");
        let refused = api.call(METHOD).bearer(&alice.access).json(&message).send().await;
        assert_eq!(refused.error(), (401, "BadJwtType".to_owned()));
    }
}
