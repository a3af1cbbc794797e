//! An account as its owner has it.

use anyhow::{Context as _, Result, anyhow};
use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use common::testing::FakePlc;
use serde_json::{Value, json};

use crate::harness::client::{Client, Refusal};

/// The password of all accounts of tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Tries of one write: a killed replica costs one or two, a database that breaks all connections one for each of them.
const TRIES: usize = 100;

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The account's DID.
    pub(crate) did: Did,
    /// The access token.
    pub(crate) token: String,
}

impl Account {
    /// Signs up.
    ///
    /// # Errors
    /// The server refuses, or answers without the session.
    pub(crate) async fn create(api: &Client, handle: &str) -> Result<Self> {
        let name = handle.split('.').next().unwrap_or_default();
        let input = json!({"handle": handle, "email": format!("{name}@mail.test"), "password": PASSWORD});
        let session = api.post("com.atproto.server.createAccount", None, &input).await?;
        let text = |key: &str| session[key].as_str().with_context(|| format!("no {key} in {session}"));
        Ok(Self { did: text("did")?.parse()?, token: text("accessJwt")?.to_owned() })
    }

    /// The public key of the account's commits, as the directory has it.
    ///
    /// # Panics
    /// If the directory has none.
    pub(crate) fn signing_key(&self, plc: &FakePlc) -> PublicKey {
        plc.state(&self.did).unwrap().verification_methods["atproto"].parse().unwrap()
    }

    /// Writes a post under a chosen record key; without one, the server chooses.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub(crate) async fn post(&self, api: &Client, text: &str, rkey: Option<&str>) -> Result<Value> {
        let mut input = json!({
            "repo": self.did,
            "collection": "app.bsky.feed.post",
            "record": {"text": text, "createdAt": "2026-01-01T00:00:00.000Z"},
        });
        if let Some(rkey) = rkey {
            input["rkey"] = rkey.into();
        }
        api.post("com.atproto.repo.createRecord", Some(&self.token), &input).await
    }

    /// Writes a post under a chosen record key, at the other of two servers if one fails, as a client would that wants it
    /// written exactly once: the key is chosen before, so a write that went through without an answer is recognised.
    ///
    /// # Errors
    /// A server refuses, or all tries fail.
    pub(crate) async fn post_once(&self, apis: &[Client; 2], rkey: &str, first: usize) -> Result<()> {
        let mut last = anyhow!("no try");
        for attempt in 0..TRIES {
            let api = &apis[(first + attempt) % apis.len()];
            match self.post(api, rkey, Some(rkey)).await {
                Ok(_) => return Ok(()),
                Err(error) => match error.downcast_ref::<Refusal>() {
                    Some(refusal) if attempt > 0 && refusal.message.contains("already exists") => return Ok(()),
                    Some(refusal) if refusal.status < 500 => return Err(error),
                    _ => last = error,
                },
            }
        }
        Err(last)
    }
}
