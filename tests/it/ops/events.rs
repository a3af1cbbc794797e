//! `pds-worker events`.

use std::time::Duration;

use atproto::syntax::Tid;
use common::testing::damage;

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::Consumer;
use crate::harness::operator::{Ended, Operator};

const LIMIT: Duration = Duration::from_secs(30);
const POSTS: u64 = 12;

fn rkey(number: u64) -> String {
    Tid::from_micros(1_700_000_000_000_000 + number, 0).to_string()
}

/// Two replicas, and the stream of two accounts that wrote at both.
async fn scene() -> (Cluster, Operator, [Account; 2]) {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let accounts =
        [cluster.create_account("alice.test").await.unwrap(), cluster.create_account("bob.test").await.unwrap()];
    let apis = [cluster.api(0), cluster.api(1)];
    for account in &accounts {
        for number in 0..POSTS {
            account.post_once(&apis, &rkey(number), usize::try_from(number).unwrap() % 2).await.unwrap();
        }
    }
    let operator = Operator::of(&cluster).unwrap();
    (cluster, operator, accounts)
}

async fn check(operator: &Operator, more: &[&str]) -> Ended {
    operator.run(&[&["events", "replay-check"], more].concat()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_stream_is_sound_wherever_it_is_read() {
    let (cluster, operator, [alice, _]) = scene().await;
    let did = alice.did.as_str();
    let rebuilt = operator.run(&["repo", "rebuild", "--did", did, "--force", "--yes"]).await.unwrap();
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    alice.post(&cluster.api(0), "after", None).await.unwrap();
    let newest = damage::last_seq(&cluster.db().pool()).await;

    let origin = cluster.api(1).origin().replacen("http", "ws", 1);
    let plc = cluster.plc().url().to_string();
    for source in [&[][..], &["--database"], &["--url", &origin, "--plc", &plc, "--idle", "1"]] {
        let told = check(&operator, source).await;
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.out.starts_with(&format!("{newest} events checked, seq 1 to {newest}: no fault\n")), "{told:?}");
        assert!(told.out.contains("of 2 repositories; 0 gaps"), "{told:?}");
    }

    let part = check(&operator, &["--database", "--from", "5", "--limit", "3", "--json"]).await;
    let [totals] = &part.json()[..] else { panic!("{part:?}") };
    assert_eq!((&totals["events"], &totals["firstSeq"], &totals["lastSeq"]), (&3.into(), &6.into(), &8.into()));
    assert_eq!(&totals["faults"], &0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_would_refuse_is_named() {
    let (cluster, operator, [alice, bob]) = scene().await;
    let pool = cluster.db().pool();
    // The commits of alice come after the eight events of the sign-ups.
    let newest = damage::last_seq(&pool).await;
    damage::lose_event(&pool, 12).await;
    damage::alter_event(&pool, newest).await;
    let told = check(&operator, &["--database"]).await;
    assert_eq!(told.code, 1, "{told:?}");
    let (alice, bob) = (alice.did.as_str(), bob.did.as_str());
    assert!(told.out.contains(&format!("seq 13, #commit of {alice}: since is ")), "{told:?}");
    assert!(told.out.contains(&format!("seq 13, #commit of {alice}: prevData is ")), "{told:?}");
    assert!(told.out.contains(&format!("seq {newest}, #commit of {bob}: event has malformed blocks")), "{told:?}");
    assert!(told.out.contains("3 FAULTS\n"), "{told:?}");
    assert!(told.out.contains("1 gaps in the numbers"), "{told:?}");

    let json = check(&operator, &["--database", "--json"]).await;
    assert_eq!(json.code, 1, "{json:?}");
    let lines = json.json();
    assert_eq!((lines.len(), &lines[0]["seq"], &lines[0]["event"]), (4, &13.into(), &"#commit".into()));

    // Signed by somebody else, as far as the database knows.
    damage::swap_public_keys_of(&pool, [alice, bob]).await;
    let told = check(&operator, &["--database", "--limit", "4"]).await;
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.out.contains("#commit of"), "{told:?}");
    assert!(told.out.contains("commit is not signed by its account"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_be_read_is_neither_sound_nor_damaged() {
    let (cluster, operator, _) = scene().await;
    for (arguments, reason) in [
        (&["--url", "ws://127.0.0.1:1"][..], "cannot subscribe at http://127.0.0.1:1/"),
        (&["--url", "ftp://127.0.0.1"], "ftp is no scheme of a stream"),
        (&["--url", cluster.plc().url().as_str()], "the server answered 404"),
        (&["--from", "1000000"], "FutureCursor"),
        (&["--url", "ws://127.0.0.1:1", "--database"], "cannot be used with"),
    ] {
        let failed = check(&operator, arguments).await;
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(failed.err.contains(reason), "{failed:?}");
    }
    // Nobody else is the worse for it.
    let mut live = Consumer::connect(cluster.api(0).origin(), Some(0)).await.unwrap();
    assert_eq!(live.next(LIMIT).await.unwrap().seq, 1);
    live.close().await;
}
