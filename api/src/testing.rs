//! Servers for the tests of this crate: real sockets, a real database, and a PLC directory in this process.

use std::path::Path;

use axum::body::Bytes;
use common::{
    account::CodePurpose,
    clock::Clock,
    config::{BlobstoreConfig, Config},
    testing::{FakePlc, TestDb},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    AppState, Overrides, Pds,
    xrpc::{Kind, Method},
};

/// One or more replicas over one database, and a client.
#[derive(Debug)]
pub(crate) struct TestApi {
    replicas: Vec<Pds>,
    http: reqwest::Client,
    /// The database, to look behind the curtain.
    pub(crate) db: TestDb,
    /// The PLC directory.
    pub(crate) plc: FakePlc,
    /// The time of all replicas.
    pub(crate) clock: Clock,
    blobs: TempDir,
}

/// Somebody with an account and a session.
#[derive(Clone, Debug)]
pub(crate) struct TestAccount {
    pub(crate) did: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// The password of every [`TestAccount`].
pub(crate) const PASSWORD: &str = "correct horse";

impl TestApi {
    /// A server with the settings for tests.
    pub(crate) async fn start() -> Self {
        Self::start_with(1, |_| {}).await
    }

    /// `count` replicas with settings of the test's own.
    pub(crate) async fn start_with(count: usize, adjust: impl Fn(&mut Config)) -> Self {
        let (db, plc) = tokio::join!(TestDb::create(), FakePlc::start());
        let clock = Clock::manual(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let blobs = TempDir::new().unwrap();
        let mut replicas: Vec<Pds> = Vec::new();
        for _ in 0..count {
            let mut config = Config::for_tests();
            config.identity.plc_url = plc.url();
            config.blobstore = BlobstoreConfig::on_disk(blobs.path().to_owned());
            // All replicas are one service, and have the public URL of the first one.
            if let Some(first) = replicas.first().map(Pds::local_addr) {
                config.service.port = first.port();
                config.deployment.listen_port = Some(0);
            }
            adjust(&mut config);
            let overrides = Overrides { clock: Some(clock.clone()), database: Some(db.other_pool()) };
            let mut replica = Pds::create(config, overrides).await.unwrap();
            replica.start();
            replicas.push(replica);
        }
        // What a reply says is looked at, also if it says to look elsewhere.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { replicas, http, db, plc, clock, blobs }
    }

    /// The folder with the bytes of blobs; see `common::blob`.
    pub(crate) fn blobs(&self) -> &Path {
        self.blobs.path()
    }

    /// The services of the first replica.
    pub(crate) fn app(&self) -> &AppState {
        self.replicas[0].ctx()
    }

    /// A call of a method on the first replica.
    pub(crate) fn call(&self, method: Method) -> Call {
        self.call_on(0, method)
    }

    /// A call of a method on one of the replicas.
    pub(crate) fn call_on(&self, replica: usize, method: Method) -> Call {
        let url = format!("{}/xrpc/{}", self.replicas[replica].local_url(), method.nsid());
        Call(match method.kind() {
            Kind::Procedure => self.http.post(url),
            Kind::Query | Kind::Subscription => self.http.get(url),
        })
    }

    /// A request that is no method call.
    pub(crate) fn get(&self, path: &str) -> Call {
        Call(self.http.get(format!("{}{path}", self.replicas[0].local_url())))
    }

    /// The code that is to be mailed to somebody.
    pub(crate) async fn mailed_code(&self, account: &TestAccount, purpose: CodePurpose) -> String {
        let found = self.app().accounts.find_code(&account.did.parse().unwrap(), purpose).await.unwrap();
        found.expect("a code").code.as_str().to_owned()
    }

    /// Signs somebody up as `<name>.test`, with the address `<name>@mail.test` and [`PASSWORD`].
    pub(crate) async fn create_account(&self, name: &str) -> TestAccount {
        let method = Method::procedure("com.atproto.server.createAccount");
        let input = json!({
            "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "password": PASSWORD
        });
        let output = self.call(method).json(&input).send().await.expect_ok();
        let text = |name: &str| output[name].as_str().unwrap().to_owned();
        TestAccount { did: text("did"), access: text("accessJwt"), refresh: text("refreshJwt") }
    }
}

/// A call that is being put together.
pub(crate) struct Call(reqwest::RequestBuilder);

impl Call {
    /// With a bearer token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    /// With the operator's password.
    pub(crate) fn admin(self) -> Self {
        Self(self.0.basic_auth("admin", Some("test-admin-password")))
    }

    /// With a header.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// With query parameters.
    pub(crate) fn query(self, parameters: &[(&str, &str)]) -> Self {
        let (client, request) = self.0.build_split();
        let mut request = request.unwrap();
        request.url_mut().query_pairs_mut().extend_pairs(parameters);
        Self(reqwest::RequestBuilder::from_parts(client, request))
    }

    /// With a body of any bytes, declared as JSON.
    pub(crate) fn malformed_json(self, body: Vec<u8>) -> Self {
        Self(self.0.header(http::header::CONTENT_TYPE, "application/json").body(body))
    }

    /// With an archive for input.
    pub(crate) fn archive(self, body: impl Into<reqwest::Body>) -> Self {
        self.bytes("application/vnd.ipld.car", body)
    }

    /// With bytes of some media type for input.
    pub(crate) fn bytes(self, media_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header(http::header::CONTENT_TYPE, media_type).body(body))
    }

    /// With JSON input.
    pub(crate) fn json(self, input: &Value) -> Self {
        Self(self.0.json(input))
    }

    /// Sends it.
    pub(crate) async fn send(self) -> Reply {
        let response = self.0.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        Reply { status, headers, body, text }
    }

    /// Sends it, and leaves the answer's body to be read.
    pub(crate) async fn send_streaming(self) -> reqwest::Response {
        self.0.send().await.unwrap()
    }

    /// Sends it, which may break off.
    pub(crate) async fn try_send(self) -> Result<reqwest::Response, reqwest::Error> {
        self.0.send().await
    }

    /// The same call by another verb.
    pub(crate) fn verb(self, verb: http::Method) -> Self {
        let (client, request) = self.0.build_split();
        let mut request = request.unwrap();
        *request.method_mut() = verb;
        Self(reqwest::RequestBuilder::from_parts(client, request))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body, if it is text.
    pub(crate) text: String,
}

impl Reply {
    /// The output of a successful call; null if there is none.
    pub(crate) fn expect_ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// Status and name of an error.
    pub(crate) fn error(&self) -> (u16, String) {
        let (status, name, _) = self.error_with_message();
        (status, name)
    }

    /// Status, name and message of an error.
    pub(crate) fn error_with_message(&self) -> (u16, String, String) {
        let envelope: Value = serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"));
        let text = |name: &str| envelope[name].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        (self.status.as_u16(), text("error"), text("message"))
    }
}
