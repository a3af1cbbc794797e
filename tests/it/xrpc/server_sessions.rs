//! Sessions that are opened at one replica, and prolonged and ended at another.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::testing::seed;
use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};

use crate::harness::account::{Account, PASSWORD};
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};

/// Callers who come at once.
const CALLERS: usize = 12;

struct Scene {
    cluster: Cluster,
    apis: [Client; 2],
    alice: Account,
}

impl Scene {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Replicas(2)).await?;
        let alice = cluster.create_account("alice.test").await?;
        let apis = [cluster.api(0), cluster.api(1)];
        Ok(Self { cluster, apis, alice })
    }

    async fn sign_in(&self, replica: usize, identifier: &str, password: &str) -> Result<Value> {
        let input = json!({ "identifier": identifier, "password": password });
        self.apis[replica].post("com.atproto.server.createSession", None, &input).await
    }

    async fn refresh(&self, replica: usize, token: &str) -> Result<Value> {
        self.apis[replica].post_empty("com.atproto.server.refreshSession", Some(token)).await
    }

    /// An app password of Alice's, made at the first replica.
    async fn app_password(&self, name: &str, privileged: bool) -> Result<String> {
        let input = json!({ "name": name, "privileged": privileged });
        let made = self.apis[0].post("com.atproto.server.createAppPassword", Some(&self.alice.token), &input).await?;
        text(&made, "password").map(str::to_owned)
    }

    async fn revoke(&self, replica: usize, name: &str) -> Result<()> {
        let method = "com.atproto.server.revokeAppPassword";
        self.apis[replica].post(method, Some(&self.alice.token), &json!({ "name": name })).await.map(drop)
    }
}

fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str> {
    answer[field].as_str().with_context(|| format!("no {field} in {answer}"))
}

/// What one of the tokens in an answer says.
fn claim(answer: &Value, token: &str, claim: &str) -> Result<String> {
    let part = text(answer, token)?.split('.').nth(1).context("not a token")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?;
    text(&claims, claim).map(str::to_owned)
}

/// Expects a refusal of this status and name.
fn refused(answer: Result<Value>, status: u16, name: &str) -> Result<()> {
    let Err(error) = answer else { bail!("not refused: {status} {name}") };
    let refusal: &Refusal = error.downcast_ref().with_context(|| format!("{error}"))?;
    ensure!((refusal.status, refusal.name.as_str()) == (status, name), "{refusal}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_keeps_its_scope_from_replica_to_replica() -> Result<()> {
    let scene = Scene::start().await?;
    for (name, privileged, scope) in
        [("phone", false, "com.atproto.appPass"), ("chat", true, "com.atproto.appPassPrivileged")]
    {
        let password = scene.app_password(name, privileged).await?;
        let mut session = scene.sign_in(1, "alice.test", &password).await?;
        for turn in 0..4 {
            ensure!(claim(&session, "accessJwt", "scope")? == scope, "turn {turn}");
            session = scene.refresh(turn % 2, text(&session, "refreshJwt")?).await?;
        }
        scene.revoke(0, name).await?;
        refused(scene.refresh(1, text(&session, "refreshJwt")?).await, 400, "ExpiredToken")?;
        refused(scene.sign_in(1, "alice.test", &password).await, 401, "AuthenticationRequired")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_asked_at_once_give_one_next_token() -> Result<()> {
    let scene = Scene::start().await?;
    for password in [PASSWORD.to_owned(), scene.app_password("phone", false).await?] {
        let session = scene.sign_in(0, "alice.test", &password).await?;
        let token = text(&session, "refreshJwt")?;
        let answers = try_join_all((0..CALLERS).map(|n| scene.refresh(n % 2, token))).await?;
        let all = |token, name| answers.iter().map(|answer| claim(answer, token, name)).collect::<Result<HashSet<_>>>();
        ensure!(all("refreshJwt", "jti")?.len() == 1);
        let scope = HashSet::from([claim(&session, "accessJwt", "scope")?]);
        ensure!(all("accessJwt", "scope")? == scope);
        // And again, some time later.
        let again = scene.refresh(1, token).await?;
        ensure!(claim(&again, "refreshJwt", "jti")? == claim(&answers[0], "refreshJwt", "jti")?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_renew_one_hash_at_once_all_succeed() -> Result<()> {
    let scene = Scene::start().await?;
    let accounts = &scene.cluster.replica(0).ctx().accounts;
    let alice = accounts.find_by_did(&scene.alice.did).await?.context("no account")?.id;
    // As Node's `scryptSync("correct horse", salt, 64)` gives it.
    let reference = "000102030405060708090a0b0c0d0e0f:\
        5840f2841249294a51f654db7224551cfcf1600bc79b5f32f5e2dd856ce221fc\
        4f1ff6dad64b9fab6d4fb8f13bdd8bea4db17fbf92c730afd5eaee0cc42249af";
    seed::set_password(&scene.cluster.db().pool(), alice, &reference.parse()?).await;
    try_join_all((0..CALLERS).map(|n| scene.sign_in(n % 2, "alice.test", "correct horse"))).await?;
    ensure!(seed::password_hash(&scene.cluster.db().pool(), alice).await.starts_with("$argon2id$"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_outlives_the_app_password_it_is_opened_with() -> Result<()> {
    let scene = Scene::start().await?;
    let password = scene.app_password("phone", false).await?;
    let logins = (0..CALLERS).map(|n| scene.sign_in(n % 2, "alice.test", &password));
    let (sessions, revoked) = tokio::join!(join_all(logins), scene.revoke(1, "phone"));
    revoked?;
    for (n, session) in sessions.into_iter().enumerate() {
        match session {
            Ok(session) => refused(scene.refresh(n % 2, text(&session, "refreshJwt")?).await, 400, "ExpiredToken")?,
            refusal @ Err(_) => refused(refusal, 401, "AuthenticationRequired")?,
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_refuses_a_login_in_the_same_words() -> Result<()> {
    let scene = Scene::start().await?;
    let app_password = scene.app_password("phone", false).await?;
    let (did, long) = (scene.alice.did.as_str(), "x".repeat(5000));
    let unknown = (401, "AuthenticationRequired");
    for replica in 0..2 {
        for (identifier, password, (status, name)) in [
            ("alice.test", "wrong", unknown),
            ("alice.test", "", unknown),
            (did, "wrong", unknown),
            ("alice@mail.test", "wrong", unknown),
            ("bob.test", PASSWORD, unknown),
            ("bob@mail.test", PASSWORD, unknown),
            ("did:plc:bob", PASSWORD, unknown),
            ("", PASSWORD, unknown),
            ("al\u{131}ce.test", PASSWORD, unknown),
            ("alice.test\0", PASSWORD, unknown),
            (&long, PASSWORD, unknown),
            ("alice.test", "aaaa-aaaa-aaaa-aaaa", unknown),
            ("bob.test", &app_password, unknown),
            ("alice.test", &long, unknown),
        ] {
            refused(scene.sign_in(replica, identifier, password).await, status, name)?;
        }
    }
    seed::set_taken_down(&scene.cluster.db().pool(), did, true).await;
    for replica in 0..2 {
        refused(scene.sign_in(replica, "alice.test", PASSWORD).await, 401, "AccountTakedown")?;
        for password in ["wrong", &app_password] {
            refused(scene.sign_in(replica, "alice.test", password).await, unknown.0, unknown.1)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_on_all_replicas() -> Result<()> {
    let scene = Scene::start().await?;
    let session = scene.sign_in(0, "alice.test", PASSWORD).await?;
    let token = text(&session, "refreshJwt")?;
    let next = scene.refresh(1, token).await?;
    scene.apis[0].post_empty("com.atproto.server.deleteSession", Some(token)).await?;
    for token in [token, text(&next, "refreshJwt")?] {
        for replica in 0..2 {
            refused(scene.refresh(replica, token).await, 400, "ExpiredToken")?;
        }
    }
    let queue = scene.apis[1].get_as(text(&next, "accessJwt")?, "com.atproto.temp.checkSignupQueue", &[]).await?;
    ensure!(queue == json!({ "activated": true }), "{queue}");
    Ok(())
}

/// A session is prolonged over and over at one replica, and ended at the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_being_prolonged_ends() -> Result<()> {
    let scene = Scene::start().await?;
    for _ in 0..10 {
        let first = scene.sign_in(0, "alice.test", PASSWORD).await?;
        let token = text(&first, "refreshJwt")?.to_owned();
        let mut session = scene.refresh(0, &token).await?;
        let prolonging = async {
            while let Ok(next) = scene.refresh(0, text(&session, "refreshJwt")?).await {
                session = next;
            }
            anyhow::Ok(session)
        };
        let ending = scene.apis[1].post_empty("com.atproto.server.deleteSession", Some(&token));
        let (session, ended) = tokio::join!(prolonging, ending);
        ended?;
        refused(scene.refresh(1, text(&session?, "refreshJwt")?).await, 400, "ExpiredToken")?;
    }
    Ok(())
}
