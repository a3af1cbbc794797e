//! What becomes of accounts, as two replicas and the stream tell it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use atproto::crypto::SigningKey;
use atproto::event::Event;
use atproto::identity::plc::{State, UnsignedOperation};
use atproto::syntax::Did;
use chrono::DateTime;
use common::account::{CodePurpose, SendCode};
use common::audit::Actor;
use common::config::PlcRotationKey;
use common::keys::ServiceToken;
use common::lifecycle::StatusChange;
use common::testing::RepoArchive;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::account::{Account, PASSWORD};
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, Received};

const LIMIT: Duration = Duration::from_secs(30);
const WRITERS: usize = 8;

/// What the stream tells of an account up to now, one line an event.
async fn told(cluster: &Cluster, consumer: &mut Consumer, did: &Did) -> Result<Vec<String>> {
    let newest = cluster.replica(0).ctx().sequencer.newest().await?;
    let events = consumer.until(newest, LIMIT).await?;
    Ok(events.iter().filter(|received| received.event.did() == did).map(describe).collect())
}

fn describe(received: &Received) -> String {
    match &received.event {
        Event::Account(event) => format!("#account {}", event.status.name().unwrap_or("active")),
        Event::Identity(event) => format!("#identity {}", event.handle.as_ref().map_or("", |handle| handle.as_str())),
        other => other.kind().name().to_owned(),
    }
}

/// The name of the error that a call was refused with.
fn refusal(outcome: Result<Value>) -> Result<String> {
    let error = outcome.err().context("a refusal")?;
    Ok(error.downcast::<Refusal>()?.name)
}

async fn delete(cluster: &Cluster, api: &Client, account: &Account) -> Result<Value> {
    let accounts = &cluster.replica(0).ctx().accounts;
    let request = SendCode { did: account.did.clone(), purpose: CodePurpose::DeleteAccount, locale: None };
    accounts.request_code(&request).await?;
    let mail = accounts.find_code(&account.did, CodePurpose::DeleteAccount).await?.context("a code")?;
    let input = json!({ "did": account.did, "password": PASSWORD, "token": mail.code.as_str() });
    api.post("com.atproto.server.deleteAccount", None, &input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_tells_what_becomes_of_an_account() -> Result<()> {
    let cluster = Cluster::start(Replicas(2)).await?;
    let (here, there) = (cluster.api(0), cluster.api(1));
    let mut consumer = Consumer::connect(there.origin(), Some(0)).await?;
    let alice = cluster.create_account("alice.test").await?;
    let token = Some(alice.token.as_str());
    alice.post(&there, "hi", None).await?;
    here.post("com.atproto.server.deactivateAccount", token, &json!({})).await?;
    for api in [&here, &there] {
        ensure!(refusal(alice.post(api, "refused", None).await)? == "AccountDeactivated");
    }
    there.post("com.atproto.identity.updateHandle", token, &json!({ "handle": "alice-two.test" })).await?;
    there.post_empty("com.atproto.server.activateAccount", Some(&alice.token)).await?;
    alice.post(&here, "back", None).await?;
    delete(&cluster, &there, &alice).await?;
    for api in [&here, &there] {
        alice.post(api, "gone", None).await.unwrap_err();
        let status = api.get("com.atproto.sync.getRepoStatus", &[("did", alice.did.as_str())]).await;
        ensure!(refusal(status)? == "RepoNotFound");
    }
    let expected = [
        "#identity alice.test",
        "#account active",
        "#commit",
        "#sync",
        "#commit",
        "#account deactivated",
        "#identity alice-two.test",
        "#account active",
        "#identity alice-two.test",
        "#sync",
        "#commit",
        "#account deleted",
    ];
    let told = told(&cluster, &mut consumer, &alice.did).await?;
    ensure!(told == expected, "{told:?}");
    consumer.close().await;
    Ok(())
}

/// Posts until that is refused; gives the name of the refusal.
async fn post_until_refused(api: Client, account: Account) -> Result<String> {
    loop {
        if let Err(error) = account.post(&api, "hi", None).await {
            return Ok(error.downcast::<Refusal>()?.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_lands_behind_the_event_that_closes_an_account() -> Result<()> {
    let cluster = Cluster::start(Replicas(2)).await?;
    let (here, there) = (cluster.api(0), cluster.api(1));
    for closing in ["deactivate", "take down", "delete"] {
        let name = closing.replace(' ', "-");
        let alice = cluster.create_account(&format!("{name}.test")).await?;
        let mut consumer = Consumer::connect(there.origin(), None).await?;
        let writers =
            (0..WRITERS).map(|writer| tokio::spawn(post_until_refused(cluster.api(writer % 2), alice.clone())));
        let writers: Vec<_> = writers.collect();
        // Some posts are on their way.
        for _ in 0..WRITERS {
            consumer.next(LIMIT).await?;
        }
        match closing {
            "deactivate" => {
                drop(here.post("com.atproto.server.deactivateAccount", Some(&alice.token), &json!({})).await?);
            }
            "take down" => {
                let takedown = StatusChange::TakeDown { reference: None };
                let lifecycle = &cluster.replica(0).ctx().lifecycle;
                lifecycle.change_status(&Actor::Admin, &alice.did, &takedown).await?;
            }
            _ => drop(delete(&cluster, &here, &alice).await?),
        }
        for outcome in join_all(writers).await {
            let refusal = outcome??;
            let expected: &[&str] = match closing {
                "deactivate" => &["AccountDeactivated"],
                "take down" => &["AccountTakedown"],
                _ => &["InvalidRequest", "AccountNotFound"],
            };
            ensure!(expected.contains(&refusal.as_str()), "{closing}: {refusal}");
        }
        let told = told(&cluster, &mut consumer, &alice.did).await?;
        ensure!(told.iter().filter(|event| event.starts_with("#account")).count() == 1, "{closing}: {told:?}");
        ensure!(told.last().is_some_and(|event| event.starts_with("#account")), "{closing}: {told:?}");
    }
    Ok(())
}

/// A DID of another server's, whose owner has its keys.
struct Emigrant {
    did: Did,
    key: SigningKey,
}

impl Emigrant {
    fn at(cluster: &Cluster, handle: &str) -> Result<Self> {
        let key = SigningKey::generate(&mut rand::rng());
        let state = State::for_account(&[key.public_key()], &key.public_key(), &handle.parse()?, "https://old.test");
        let genesis = UnsignedOperation::genesis(state).sign(&key)?;
        let did = genesis.did()?;
        cluster.plc().submit(&did, genesis);
        Ok(Self { did, key })
    }

    /// The token with which the old server lets the account go.
    fn token(&self, method: &str) -> Result<String> {
        let now = DateTime::from_timestamp(4_000_000_000, 0).context("a time")?;
        let method = method.parse()?;
        let token = ServiceToken {
            issuer: &self.did,
            audience: "did:web:localhost",
            method: Some(&method),
            issued_at: now,
            expires_at: now,
        };
        Ok(token.sign(&self.key))
    }

    /// Lets the DID say that its home is here.
    fn move_home(&self, cluster: &Cluster, signing_key: &str) -> Result<()> {
        let mut state = cluster.plc().state(&self.did).context("a DID")?;
        let config = &cluster.replica(0).ctx().config;
        state.services.get_mut("atproto_pds").context("a service")?.endpoint = config.public_url();
        state.verification_methods.insert("atproto".to_owned(), signing_key.to_owned());
        let PlcRotationKey::K256(server) = &config.secrets.plc_rotation_key else { bail!("a key at hand") };
        state.rotation_keys.push(SigningKey::from_bytes(server.expose())?.public_key().to_string());
        let prev = cluster.plc().operations(&self.did).last().context("an operation")?.cid()?;
        let update = UnsignedOperation::Update { state, prev: Some(prev) };
        cluster.plc().submit(&self.did, update.sign(&self.key)?);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_moves_in_unheard_until_it_is_there() -> Result<()> {
    let cluster = Cluster::start(Replicas(2)).await?;
    let (here, there) = (cluster.api(0), cluster.api(1));
    let mut consumer = Consumer::connect(here.origin(), Some(0)).await?;
    let emigrant = Emigrant::at(&cluster, "alice.test")?;
    let did = &emigrant.did;
    let reserved = here.post("com.atproto.server.reserveSigningKey", None, &json!({ "did": did })).await?;
    let reserved = reserved["signingKey"].as_str().context("a key")?;

    let input = json!({ "did": did, "handle": "alice.test", "email": "alice@mail.test", "password": PASSWORD });
    let unproven = there.post("com.atproto.server.createAccount", None, &input).await;
    ensure!(refusal(unproven)? == "AuthenticationRequired");
    let misdirected = emigrant.token("com.atproto.repo.uploadBlob")?;
    let misdirected = there.post("com.atproto.server.createAccount", Some(&misdirected), &input).await;
    ensure!(refusal(misdirected)? == "BadJwtLexiconMethod");
    let token = emigrant.token("com.atproto.server.createAccount")?;
    let session = there.post("com.atproto.server.createAccount", Some(&token), &input).await?;
    let again = here.post("com.atproto.server.createAccount", Some(&token), &input).await;
    ensure!(refusal(again)? == "InvalidRequest", "the handle is taken, by the same account");
    let alice = Account { did: did.clone(), token: session["accessJwt"].as_str().context("a token")?.to_owned() };
    ensure!(session["didDoc"]["id"] == did.as_str());

    let archive = RepoArchive::new(did, []).to_car();
    here.post_archive("com.atproto.repo.importRepo", &alice.token, archive).await?;
    ensure!(refusal(alice.post(&here, "not yet", None).await)? == "AccountDeactivated");
    let status = async || here.get_as(&alice.token, "com.atproto.server.checkAccountStatus", &[]).await;
    let before = status().await?;
    ensure!(before["activated"] == false && before["validDid"] == false, "{before}");
    let early = there.post_empty("com.atproto.server.activateAccount", Some(&alice.token)).await;
    ensure!(refusal(early)? == "InvalidRequest");

    emigrant.move_home(&cluster, reserved)?;
    ensure!(status().await?["validDid"] == true, "{}", status().await?);
    there.post_empty("com.atproto.server.activateAccount", Some(&alice.token)).await?;
    alice.post(&here, "home", None).await?;
    let told = told(&cluster, &mut consumer, did).await?;
    ensure!(told == ["#account active", "#identity alice.test", "#sync", "#commit"], "{told:?}");
    Ok(())
}
