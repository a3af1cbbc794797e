//! What clients meet at the limits of one server, which counts for itself.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use common::config::Config;
use serde_json::{Value, json};

use super::table::{self, Due};
use crate::testing::{PASSWORD, Reply, TestAccount, TestApi};
use crate::xrpc::{self, Method, ResponseHeaders};
use crate::{Overrides, Pds};

const DESCRIBE_SERVER: &str = "com.atproto.server.describeServer";
const CREATE_SESSION: &str = "com.atproto.server.createSession";
const APPLY_WRITES: &str = "com.atproto.repo.applyWrites";
const FORWARDED: &str = "x-forwarded-for";
/// Points that no test uses up.
const MANY: u32 = 1_000_000;

/// A server with limits that have other points than by default.
async fn limited(points: &[(&str, u32)], change: impl Fn(&mut Config)) -> TestApi {
    let api = TestApi::start_with(1, |config| {
        config.rate_limit.enabled = true;
        config.rate_limit.points = points.iter().map(|(name, points)| ((*name).to_owned(), *points)).collect();
        change(config);
    });
    api.await
}

fn method(nsid: &str) -> Method {
    xrpc::routes().methods().find(|method| method.nsid() == nsid).unwrap()
}

/// Limit, remaining, reset and policy, as the client is told.
fn told(reply: &Reply) -> Option<[String; 4]> {
    let header = |name: &str| Some(reply.headers.get(format!("ratelimit-{name}"))?.to_str().unwrap().to_owned());
    Some([header("limit")?, header("remaining")?, header("reset")?, header("policy")?])
}

fn is_limited(reply: &Reply) -> bool {
    let limited = reply.status.as_u16() == 429;
    if limited {
        let expected = (429, "RateLimitExceeded".to_owned(), "Rate Limit Exceeded".to_owned());
        assert_eq!(reply.error_with_message(), expected);
    }
    limited
}

/// How many calls are let through, whatever becomes of them, before one is not.
async fn passes(call: impl AsyncFn() -> Reply) -> u32 {
    let mut passes = 0;
    while !is_limited(&call().await) {
        passes += 1;
        assert!(passes < 100, "no limit");
    }
    passes
}

#[tokio::test]
async fn clients_are_told_what_is_left_until_when() {
    let api = limited(&[("global", 3)], |_| {}).await;
    let call = async || api.call(method(DESCRIBE_SERVER)).send().await;
    let expected = |remaining: &str, reset: &str| Some(["3", remaining, reset, "3;w=300"].map(str::to_owned));
    for remaining in ["2", "1", "0"] {
        let reply = call().await;
        assert_eq!((reply.status.as_u16(), told(&reply)), (200, expected(remaining, "1800000300")));
        assert!(!reply.headers.contains_key("retry-after"));
        api.clock.advance(Duration::from_millis(10_001));
    }
    let refused = call().await;
    assert!(is_limited(&refused));
    assert_eq!(told(&refused), expected("0", "1800000300"));
    // Somewhat more than 30 seconds have gone.
    assert_eq!(refused.headers["retry-after"], "270");
    assert!(refused.headers["access-control-expose-headers"].to_str().unwrap().contains("RateLimit-Reset"));
    api.clock.advance(Duration::from_secs(270));
    assert_eq!(told(&call().await), expected("2", "1800000600"));
}

#[tokio::test]
async fn without_limits_nobody_is_told_of_any() {
    let api = TestApi::start().await;
    assert_eq!(told(&api.call(method(DESCRIBE_SERVER)).send().await), None);
}

#[tokio::test]
async fn everything_under_xrpc_counts_once_and_nothing_else() {
    let api = limited(&[("global", 100), ("get-repo-5min", 7)], |_| {}).await;
    let alice = api.create_account("alice").await;
    let remaining = |reply: &Reply| told(reply).map(|[limit, remaining, ..]| (limit, remaining));
    let mut left = 99;
    let mut expect_counted = |reply: &Reply| {
        left -= 1;
        assert_eq!(remaining(reply), Some(("100".to_owned(), left.to_string())), "{reply:?}");
    };
    for path in ["/xrpc/app.bsky.feed.getTimeline", "/xrpc/not-a-name", "/xrpc/com.atproto.sync.subscribeRepos"] {
        expect_counted(&api.get(path).send().await);
    }
    let wrong_verb = api.call(method(DESCRIBE_SERVER)).verb(http::Method::POST).send().await;
    expect_counted(&wrong_verb);
    // These would count by the account, too, but do not get so far; the token is only read by the first.
    let bad_body = api.call(method("com.atproto.repo.createRecord")).bearer(&alice.access).json(&json!(1)).send().await;
    expect_counted(&bad_body);
    expect_counted(&api.call(method("com.atproto.repo.createRecord")).bearer("x.y.z").json(&json!({})).send().await);
    expect_counted(&api.call(method(CREATE_SESSION)).json(&json!(1)).send().await);
    expect_counted(&api.call(method(APPLY_WRITES)).bearer(&alice.access).json(&json!(1)).send().await);
    for path in ["/xrpc/_health", "/livez", "/", "/.well-known/atproto-did"] {
        assert_eq!(told(&api.get(path).send().await), None, "{path}");
    }
    let repo = api.call(method("com.atproto.sync.getRepo")).query(&[("did", &alice.did)]).send().await;
    assert_eq!(remaining(&repo), Some(("7".to_owned(), "6".to_owned())), "its own limit, instead");
    expect_counted(&api.call(method(DESCRIBE_SERVER)).send().await);
}

/// Each method, with few points, lets through as many calls as these pay for, and the next one not.
#[tokio::test]
async fn every_limit_by_address_or_account_is_in_force() {
    let few: Vec<_> = table::rules().iter().map(|rule| (rule.limit.name, 3)).collect();
    let without_global = [&few[..], &[("global", 0)]].concat();
    let api = limited(&without_global, |_| {}).await;
    for (index, row) in table::METHODS.iter().filter(|row| row.due == Due::AtOnce).enumerate() {
        let client = format!("192.0.2.{index}");
        let call = async || api.call(method(row.method)).header(FORWARDED, &client).send().await;
        assert_eq!(passes(call).await, 3, "{}", row.method);
    }
    for (index, row) in table::METHODS.iter().filter(|row| row.due == Due::WithCaller).enumerate() {
        let somebody = create_account(&api, &format!("user{index}"), index).await;
        // From another address each time: it does not matter.
        let turn = std::cell::Cell::new(0_u8);
        let call = async || {
            turn.set(turn.get() + 1);
            let client = format!("198.51.100.{}", turn.get());
            let call = api.call(method(row.method)).bearer(&somebody.access).header(FORWARDED, &client);
            call.json(&json!({})).send().await
        };
        assert_eq!(passes(call).await, 3 / row.cost, "{}", row.method);
    }
}

/// Signs somebody up from an address of their own, so that the limit of sign-ups is not in the way.
async fn create_account(api: &TestApi, name: &str, index: usize) -> TestAccount {
    let input = json!({ "handle": format!("{name}.test"), "email": format!("{name}@mail.test"), "password": PASSWORD });
    let call = api.call(method("com.atproto.server.createAccount")).header(FORWARDED, &format!("203.0.113.{index}"));
    let output = call.json(&input).send().await.expect_ok();
    let text = |name: &str| output[name].as_str().unwrap().to_owned();
    TestAccount { did: text("did"), access: text("accessJwt"), refresh: text("refreshJwt") }
}

#[tokio::test]
async fn passwords_are_guessed_by_name_and_address_together_and_apart() {
    let points = [
        ("create-session-5min", 2),
        ("login-name-5min", 5),
        ("login-address-5min", 7),
        ("delete-account-5min", 100),
        ("request-reset-hour", 3),
        ("request-reset-name-hour", 2),
        ("request-reset-mailbox-day", 3),
    ];
    let api = limited(&points, |_| {}).await;
    let alice = api.create_account("alice").await;
    let sign_in = async |name: &str, client: &str| {
        let input = json!({ "identifier": name, "password": "wrong" });
        api.call(method(CREATE_SESSION)).header(FORWARDED, client).json(&input).send().await
    };
    // Two for each address, however the name is written; five in all.
    assert_eq!(passes(async || sign_in("alice.test", "192.0.2.1").await).await, 2);
    assert!(is_limited(&sign_in(" ALICE.test", "192.0.2.1").await));
    assert_eq!(passes(async || sign_in("alice.test", "192.0.2.2").await).await, 2);
    assert_eq!(passes(async || sign_in("alice.test", "192.0.2.3").await).await, 1);
    assert!(is_limited(&sign_in("alice.test", "192.0.2.4").await));
    // Seven for an address, with whatever names; the network of version 6 is one.
    let turn = std::cell::Cell::new(0_u32);
    let with_new_names = async || {
        turn.set(turn.get() + 1);
        sign_in(&format!("user{}.test", turn.get()), &format!("2001:db8::{}", turn.get())).await
    };
    assert_eq!(passes(with_new_names).await, 7);
    // deleteAccount tells whether a password is right, too, and shares the limits.
    let delete = async |client: &str| {
        let input = json!({ "did": alice.did, "password": "wrong", "token": "" });
        let method = method("com.atproto.server.deleteAccount");
        api.call(method).header(FORWARDED, client).json(&input).send().await
    };
    assert!(!is_limited(&sign_in(&alice.did, "192.0.2.5").await));
    for client in ["192.0.2.6", "192.0.2.16"] {
        assert_eq!(passes(async || delete(client).await).await, 2, "no address alone uses up what a name has");
    }
    assert!(is_limited(&sign_in(&alice.did, "192.0.2.7").await));

    let reset = async |email: &str, client: &str| {
        let method = method("com.atproto.server.requestPasswordReset");
        api.call(method).header(FORWARDED, client).json(&json!({ "email": email })).send().await
    };
    assert_eq!(passes(async || reset("alice@mail.test", "192.0.2.8").await).await, 2);
    assert_eq!(passes(async || reset("Alice@mail.test", "192.0.2.9").await).await, 1, "three for a mailbox");
    assert!(!is_limited(&reset("bob@mail.test", "192.0.2.8").await));
    assert!(is_limited(&reset("carol@mail.test", "192.0.2.8").await));
}

/// Strangers use up what a name has, and its owner is still let in, from where they signed in to it lately.
#[tokio::test]
async fn strangers_do_not_keep_an_owner_out() {
    let points = [("create-session-5min", 3), ("login-name-5min", 3), ("login-address-5min", MANY)];
    let api = limited(&points, |_| {}).await;
    let alice = api.create_account("alice").await;
    let (home, mut strangers) = ("2001:db8:1:2::1", (1..).map(|turn| format!("192.0.2.{turn}")));
    let sign_in = async |name: &str, password: &str, client: &str| {
        let input = json!({ "identifier": name, "password": password });
        let reply = api.call(method(CREATE_SESSION)).header(FORWARDED, client).json(&input).send().await;
        reply.status.as_u16()
    };
    assert_eq!(sign_in("alice.test", PASSWORD, home).await, 200);
    for name in ["alice.test", alice.did.as_str(), "alice@mail.test", "nobody.test"] {
        let mut refused = 0;
        while refused < 2 {
            refused += u32::from(sign_in(name, "wrong", &strangers.next().unwrap()).await == 429);
        }
        // By whatever name, from anywhere in the network; but not without end, nor from anywhere else.
        let known = name != "nobody.test";
        assert_eq!(sign_in(name, PASSWORD, "2001:db8:1:2:ffff::").await == 200, known, "{name}");
        assert_eq!(sign_in(name, PASSWORD, "2001:db8:1:3::1").await, 429, "{name}");
    }
    let name = alice.did.as_str();
    while sign_in(name, "wrong", home).await == 401 {}
    assert_eq!(sign_in(name, PASSWORD, home).await, 429, "guessing from there has its limit, too");
    let input = json!({ "did": alice.did, "password": PASSWORD, "token": "" });
    let delete = async |client: &str| {
        let call = api.call(method("com.atproto.server.deleteAccount")).header(FORWARDED, client);
        call.json(&input).send().await.status.as_u16()
    };
    let elsewhere = strangers.next().unwrap();
    assert_eq!(delete(&elsewhere).await, 429);

    // Where somebody signed up is known as well.
    create_account(&api, "bob", 7).await;
    while sign_in("bob.test", "wrong", &strangers.next().unwrap()).await != 429 {}
    assert_eq!(
        (sign_in("bob.test", PASSWORD, "203.0.113.7").await, sign_in("bob.test", PASSWORD, home).await),
        (200, 429)
    );

    // A month later the address is not known any more.
    api.clock.advance(common::session::ADDRESS_MEMORY);
    while sign_in("alice.test", "wrong", &strangers.next().unwrap()).await != 429 {}
    assert_eq!(sign_in("alice.test", PASSWORD, home).await, 429);
}

/// What is refused, but may come of an owner, costs questions to Postgres: whoever asks pays.
#[tokio::test]
async fn nobody_is_looked_up_for_free() {
    let api = limited(&[("login-name-5min", 1), ("login-address-5min", 3)], |_| {}).await;
    let sign_in = async || {
        let input = json!({ "identifier": "alice.test", "password": "wrong" });
        api.call(method(CREATE_SESSION)).header(FORWARDED, "192.0.2.1").json(&input).send().await
    };
    let mut policies = Vec::new();
    for _ in 0..5 {
        policies.push(told(&sign_in().await).unwrap()[0].clone());
    }
    assert_eq!(policies, ["1", "1", "1", "3", "3"], "first the name is used up, then the address");
}

#[tokio::test]
async fn who_has_many_networks_has_not_as_many_points() {
    let api = limited(&[("global", 3)], |_| {}).await;
    let from = async |client: String| {
        let reply = api.call(method(DESCRIBE_SERVER)).header(FORWARDED, &client).send().await;
        (is_limited(&reply), told(&reply).unwrap()[0].clone())
    };
    for network in 0..16 {
        for turn in 0..3 {
            let (limited, _) = from(format!("2001:db8:1:{network:x}::{turn:x}")).await;
            assert!(!limited, "{network} {turn}");
        }
    }
    assert_eq!(from("2001:db8:1:ffff::1".to_owned()).await, (true, "48".to_owned()));
    assert_eq!(from("2001:db8:2:ffff::1".to_owned()).await, (false, "3".to_owned()), "another site");
}

/// As a server does with a request whose client went away before its input was there, it drops what was let in.
#[tokio::test]
async fn what_its_client_drops_is_charged_as_well() {
    let api = limited(&[("global", MANY), ("login-address-5min", MANY)], |_| {}).await;
    let gate = api.app().limits.gate(Some(CREATE_SESSION));
    let dropped = async || {
        let mut request = Request::builder().header(FORWARDED, "192.0.2.1").body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4000))));
        drop(gate.enter(&mut request, &ResponseHeaders::default()).await.unwrap());
    };
    for _ in 0..3 {
        dropped().await;
    }
    let used = async || {
        let call = api.call(method(DESCRIBE_SERVER)).header(FORWARDED, "192.0.2.1");
        MANY - told(&call.send().await).unwrap()[1].parse::<u32>().unwrap()
    };
    let mut asked = 1;
    let charged = async {
        while used().await < asked + 3 {
            asked += 1;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), charged).await.expect("each is charged");
    assert_eq!(used().await, asked + 4, "once");
}

#[tokio::test]
async fn writes_take_points_of_their_account() {
    let api = limited(&[("repo-write-hour", 12), ("repo-write-day", MANY)], |_| {}).await;
    let alice = api.create_account("alice").await;
    let bob = api.create_account("bob").await;
    let write = |kind: &str, rkey: &str| {
        let mut write = json!({
            "$type": format!("com.atproto.repo.applyWrites#{kind}"), "collection": "com.example.thing", "rkey": rkey
        });
        if kind != "delete" {
            write["value"] = json!({});
        }
        write
    };
    let apply = async |account: &TestAccount, writes: &[Value]| {
        let input = json!({ "repo": account.did, "writes": writes });
        api.call(method(APPLY_WRITES)).bearer(&account.access).json(&input).send().await
    };
    let left = |reply: &Reply| told(reply).unwrap()[1].clone();
    let create = json!({ "repo": alice.did, "collection": "com.example.thing", "rkey": "a", "record": {} });
    let created = api.call(method("com.atproto.repo.createRecord")).bearer(&alice.access).json(&create).send().await;
    assert_eq!((created.status.as_u16(), left(&created)), (200, "9".to_owned()));
    // 3 + 2 + 1.
    let applied = apply(&alice, &[write("create", "b"), write("update", "a"), write("delete", "b")]).await;
    assert_eq!((applied.status.as_u16(), left(&applied)), (200, "3".to_owned()));
    let too_many = apply(&alice, &[write("create", "c"), write("delete", "a")]).await;
    assert!(is_limited(&too_many) && left(&too_many) == "3", "nothing was taken: {too_many:?}");
    let nothing = apply(&alice, &[]).await;
    assert_eq!((nothing.status.as_u16(), told(&nothing).unwrap()[3].as_str()), (200, "3000;w=300"));
    assert_eq!(left(&apply(&bob, &[write("create", "c")]).await), "9", "somebody else's are their own");
    assert_eq!(left(&apply(&alice, &[write("create", "c")]).await), "0");
    assert!(is_limited(&apply(&alice, &[write("delete", "c")]).await));
    api.call(method(DESCRIBE_SERVER)).send().await.expect_ok();
}

#[tokio::test]
async fn some_are_exempt_and_nobody_can_pretend_to_be() {
    let api = limited(&[("global", 1)], |config| {
        config.rate_limit.bypass_key = Some("open sesame".into());
        config.rate_limit.bypass_ips = vec!["203.0.113.0/24".parse().unwrap()];
    });
    let api = api.await;
    let from = async |client: &str, key: &str| {
        let call = api.call(method(DESCRIBE_SERVER)).header(FORWARDED, client).header("x-ratelimit-bypass", key);
        call.send().await
    };
    for _ in 0..3 {
        for exempt in [from("192.0.2.1", "open sesame").await, from("203.0.113.200", "").await] {
            assert_eq!((exempt.status.as_u16(), told(&exempt)), (200, None));
        }
    }
    assert!(!is_limited(&from("192.0.2.1", "open").await));
    for (client, key) in [
        ("192.0.2.1", "sesame"),
        // The last address is the one that the proxy, which is this test, adds.
        ("203.0.113.200, 192.0.2.1", ""),
        ("127.0.0.1, 192.0.2.1", ""),
        ("192.0.2.99, 192.0.2.1", ""),
    ] {
        assert!(is_limited(&from(client, key).await), "{client}");
    }
}

#[tokio::test]
async fn a_limit_that_there_is_not_is_named_at_start() {
    let mut config = Config::for_tests();
    config.rate_limit.points = [("globl".to_owned(), 1), ("global".to_owned(), 1)].into();
    let db = common::testing::TestDb::create().await;
    let overrides = Overrides { database: Some(db.pool()), ..Overrides::default() };
    let error = Pds::create(config, overrides).await.unwrap_err().to_string();
    assert!(error.starts_with("PDS_RATE_LIMIT_POINTS names no limit with globl; there are global, "), "{error}");
}
