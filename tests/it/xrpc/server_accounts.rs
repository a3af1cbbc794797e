//! E-mail addresses, passwords and app passwords, with every request at another replica than the one before.

use anyhow::{Context as _, Result, bail, ensure};
use api::auth::AccessScope;
use common::account::{CODE_LIFETIME, CodePurpose};
use common::testing::seed;
use futures_util::future::join_all;
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
        let cluster = Cluster::start_with(Replicas(2), |config| {
            config.email.disposable_domains = "throw-away.test".parse().expect("a list");
        });
        let cluster = cluster.await?;
        let alice = cluster.create_account("alice.test").await?;
        let apis = [cluster.api(0), cluster.api(1)];
        Ok(Self { cluster, apis, alice })
    }

    /// Calls a procedure without input as Alice.
    async fn ask(&self, replica: usize, method: &str) -> Result<Value> {
        self.apis[replica].post_empty(&server(method), Some(&self.alice.token)).await
    }

    /// Calls a procedure as Alice.
    async fn call(&self, replica: usize, method: &str, input: Value) -> Result<Value> {
        self.apis[replica].post(&server(method), Some(&self.alice.token), &input).await
    }

    async fn sign_in(&self, replica: usize, password: &str) -> Result<Value> {
        let input = json!({ "identifier": "alice.test", "password": password });
        self.apis[replica].post(&server("createSession"), None, &input).await
    }

    /// The code that is to be mailed to Alice.
    async fn code(&self, purpose: CodePurpose) -> Result<String> {
        let accounts = &self.cluster.replica(0).ctx().accounts;
        let mail = accounts.find_code(&self.alice.did, purpose).await?.context("no code")?;
        Ok(mail.code.as_str().to_owned())
    }

    /// Calls a procedure at the two replicas in turn, all calls at once; gives the number of successes. All others must have
    /// failed with this name.
    async fn race(&self, method: &str, loser: &str, input: impl Fn(usize) -> Value) -> Result<usize> {
        let calls = (0..CALLERS).map(|n| self.call(n % 2, method, input(n)));
        let answers = join_all(calls).await;
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            ensure!(refusal(error)?.name == loser, "{error}");
        }
        Ok(answers.iter().filter(|answer| answer.is_ok()).count())
    }
}

fn server(method: &str) -> String {
    format!("com.atproto.server.{method}")
}

fn refusal(error: &anyhow::Error) -> Result<&Refusal> {
    error.downcast_ref().with_context(|| format!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_confirmed_and_changed_across_replicas() -> Result<()> {
    let scene = Scene::start().await?;
    scene.ask(0, "requestEmailConfirmation").await?;
    let code = scene.code(CodePurpose::ConfirmEmail).await?;
    scene.call(1, "confirmEmail", json!({ "email": "alice@mail.test", "token": code })).await?;
    ensure!(scene.ask(0, "requestEmailUpdate").await?["tokenRequired"] == true);
    let code = scene.code(CodePurpose::UpdateEmail).await?;
    scene.call(1, "updateEmail", json!({ "email": "new@mail.test", "token": code })).await?;
    let session = scene.apis[0].get_as(&scene.alice.token, &server("getSession"), &[]).await?;
    ensure!(session["email"] == "new@mail.test" && session["emailConfirmed"] == false, "{session}");
    ensure!(scene.ask(1, "requestEmailUpdate").await?["tokenRequired"] == false);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_reset_across_replicas() -> Result<()> {
    let scene = Scene::start().await?;
    let session = scene.sign_in(0, PASSWORD).await?;
    scene.apis[0].post(&server("requestPasswordReset"), None, &json!({ "email": "Alice@mail.test" })).await?;
    let code = scene.code(CodePurpose::ResetPassword).await?;
    scene.apis[1].post(&server("resetPassword"), None, &json!({ "token": code, "password": "new" })).await?;
    ensure!(scene.sign_in(0, PASSWORD).await.is_err());
    scene.sign_in(0, "new").await?;
    let refresh = session["refreshJwt"].as_str().context("no token")?;
    let Err(error) = scene.apis[0].post_empty(&server("refreshSession"), Some(refresh)).await else {
        bail!("the session lives on")
    };
    ensure!(refusal(&error)?.name == "ExpiredToken", "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_use_one_code_at_two_replicas_one_wins() -> Result<()> {
    let scene = Scene::start().await?;
    scene.ask(0, "requestEmailConfirmation").await?;
    let code = scene.code(CodePurpose::ConfirmEmail).await?;
    let input = |_| json!({ "email": "alice@mail.test", "token": code });
    ensure!(scene.race("confirmEmail", "InvalidToken", input).await? == 1);

    scene.ask(0, "requestEmailUpdate").await?;
    let code = scene.code(CodePurpose::UpdateEmail).await?;
    let input = |n| json!({ "email": format!("new{n}@mail.test"), "token": code });
    ensure!(scene.race("updateEmail", "InvalidToken", input).await? == 1);

    let session = scene.apis[0].get_as(&scene.alice.token, &server("getSession"), &[]).await?;
    scene.apis[0].post(&server("requestPasswordReset"), None, &json!({ "email": session["email"] })).await?;
    let code = scene.code(CodePurpose::ResetPassword).await?;
    let input = |n| json!({ "token": code, "password": format!("new {n}") });
    ensure!(scene.race("resetPassword", "InvalidToken", input).await? == 1);
    let mut good = 0;
    for n in 0..CALLERS {
        good += usize::from(scene.sign_in(n % 2, &format!("new {n}")).await.is_ok());
    }
    ensure!(good == 1, "{good} passwords");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_app_password_of_a_name_is_made() -> Result<()> {
    let scene = Scene::start().await?;
    ensure!(scene.race("createAppPassword", "InvalidRequest", |_| json!({ "name": "phone" })).await? == 1);
    ensure!(scene.race("createAppPassword", "", |n| json!({ "name": n.to_string() })).await? == CALLERS);
    for api in &scene.apis {
        let list = api.get_as(&scene.alice.token, &server("listAppPasswords"), &[]).await?;
        ensure!(list["passwords"].as_array().map(Vec::len) == Some(CALLERS + 1), "{list}");
    }
    Ok(())
}

/// A call that is refused: who calls, the method, its input, and the answer.
type Case = (&'static str, &'static str, Option<Value>, u16, &'static str);

/// What is refused whatever the account's state.
fn bad_requests(expired: &str, confirmation: &str) -> Vec<Case> {
    let email = |token: &str| Some(json!({ "email": "alice@mail.test", "token": token }));
    let new = |email: &str| Some(json!({ "email": email, "token": confirmation }));
    let reset = |token: &str, password: &str| Some(json!({ "token": token, "password": password }));
    let long = "x".repeat(1000);
    vec![
        ("full", "confirmEmail", email(expired), 400, "ExpiredToken"),
        ("full", "confirmEmail", email("AAAAA-AAAAA"), 400, "InvalidToken"),
        ("full", "confirmEmail", email(&long), 400, "InvalidToken"),
        ("full", "confirmEmail", Some(json!({ "email": "x@mail.test", "token": expired })), 400, "InvalidEmail"),
        ("full", "confirmEmail", Some(json!({ "email": "alice@mail.test" })), 400, "InvalidRequest"),
        ("full", "updateEmail", Some(json!({ "email": "new@mail.test" })), 400, "TokenRequired"),
        ("full", "updateEmail", new("new@mail.test"), 400, "InvalidToken"),
        ("full", "updateEmail", new("\u{430}lice@mail.test"), 400, "InvalidRequest"),
        ("full", "updateEmail", new("new@throw-away.test"), 400, "InvalidRequest"),
        ("full", "updateEmail", new(&format!("{long}@mail.test")), 400, "InvalidRequest"),
        ("nobody", "resetPassword", reset(expired, "new"), 400, "InvalidToken"),
        ("nobody", "resetPassword", reset("", "new"), 400, "InvalidToken"),
        ("nobody", "resetPassword", reset("AAAAA-AAAAA", &long), 400, "InvalidRequest"),
        ("nobody", "requestPasswordReset", Some(json!({})), 400, "InvalidRequest"),
        ("full", "createAppPassword", Some(json!({ "name": long })), 400, "InvalidRequest"),
        ("full", "createAppPassword", Some(json!({ "name": "" })), 400, "InvalidRequest"),
        ("app", "createAppPassword", Some(json!({ "name": "x" })), 400, "InvalidToken"),
        ("app", "revokeAppPassword", Some(json!({ "name": "x" })), 400, "InvalidToken"),
        ("app", "requestEmailUpdate", None, 400, "InvalidToken"),
        ("app", "requestAccountDelete", None, 400, "InvalidToken"),
        ("app", "updateEmail", new("new@mail.test"), 400, "InvalidToken"),
        ("nobody", "requestEmailConfirmation", None, 401, "AuthMissing"),
        ("nobody", "requestAccountDelete", None, 401, "AuthMissing"),
        ("nobody", "confirmEmail", email(expired), 401, "AuthMissing"),
    ]
}

/// The methods that look at the caller's account, with input that would do.
fn for_owners() -> Vec<(&'static str, Option<Value>)> {
    vec![
        ("requestEmailConfirmation", None),
        ("requestEmailUpdate", None),
        ("requestAccountDelete", None),
        ("confirmEmail", Some(json!({ "email": "alice@mail.test", "token": "AAAAA-AAAAA" }))),
        ("updateEmail", Some(json!({ "email": "new@mail.test" }))),
        ("createAppPassword", Some(json!({ "name": "phone" }))),
        ("revokeAppPassword", Some(json!({ "name": "phone" }))),
    ]
}

/// Makes the call at both replicas, and expects the same refusal.
async fn expect_refusal(scene: &Scene, tokens: &[(&str, String)], case: Case) -> Result<()> {
    let (caller, method, input, status, name) = case;
    let token = tokens.iter().find(|(name, _)| *name == caller).map(|(_, token)| token.as_str());
    for api in &scene.apis {
        let answer = match &input {
            Some(input) => api.post(&server(method), token, input).await,
            None => api.post_empty(&server(method), token).await,
        };
        let Err(error) = answer else { bail!("{method} as {caller} with {input:?} is accepted") };
        let refusal = refusal(&error)?;
        ensure!((refusal.status, refusal.name.as_str()) == (status, name), "{method} as {caller}: {refusal}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_refuses_in_the_same_words() -> Result<()> {
    let scene = Scene::start().await?;
    let issue = |scope| scene.cluster.replica(0).ctx().tokens.issue_access(&scene.alice.did, scope);
    let tokens = [("full", scene.alice.token.clone()), ("app", issue(AccessScope::AppPassPrivileged)?)];
    scene.ask(0, "requestEmailConfirmation").await?;
    let code = scene.code(CodePurpose::ConfirmEmail).await?;
    scene.call(1, "confirmEmail", json!({ "email": "alice@mail.test", "token": code })).await?;
    scene.ask(0, "requestEmailConfirmation").await?;
    let expired = scene.code(CodePurpose::ConfirmEmail).await?;
    seed::age_codes(&scene.cluster.db().pool(), CODE_LIFETIME).await;
    for case in bad_requests(&expired, &code) {
        expect_refusal(&scene, &tokens, case).await?;
    }
    let pool = scene.cluster.db().pool();
    seed::set_taken_down(&pool, scene.alice.did.as_str(), true).await;
    for (method, input) in for_owners() {
        expect_refusal(&scene, &tokens, ("full", method, input, 401, "AccountTakedown")).await?;
    }
    seed::delete_account(&pool, scene.alice.did.as_str()).await;
    for (method, input) in for_owners() {
        expect_refusal(&scene, &tokens, ("full", method, input, 403, "AccountNotFound")).await?;
    }
    Ok(())
}
