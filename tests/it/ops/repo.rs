//! `pds-worker repo`.

use std::time::Duration;

use anyhow::Result;
use atproto::event::Event;
use atproto::syntax::Tid;
use common::account::Accounts;
use common::db::AccountId;
use common::testing::{damage, seed};
use futures_util::future::try_join_all;

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::Consumer;
use crate::harness::operator::Operator;

const LIMIT: Duration = Duration::from_secs(30);
const POST: &str = "app.bsky.feed.post";

/// Some record key of posts.
fn rkey(number: u64) -> String {
    Tid::from_micros(1_700_000_000_000_000 + number, 0).to_string()
}

async fn account_id(cluster: &Cluster, account: &Account) -> AccountId {
    Accounts::new(cluster.db().pool()).find_by_did(&account.did).await.unwrap().unwrap().id
}

async fn post(account: &Account, apis: &[Client; 2], number: u64) -> Result<()> {
    account.post_once(apis, &rkey(number), usize::try_from(number)? % 2).await
}

/// Two replicas, and two accounts with some posts.
async fn scene() -> (Cluster, Operator, [Account; 2]) {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let accounts =
        [cluster.create_account("alice.test").await.unwrap(), cluster.create_account("bob.test").await.unwrap()];
    let apis = [cluster.api(0), cluster.api(1)];
    for account in &accounts {
        try_join_all((0..20).map(|number| post(account, &apis, number))).await.unwrap();
    }
    let operator = Operator::of(&cluster).unwrap();
    (cluster, operator, accounts)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_the_sound_from_the_damaged() {
    let (cluster, operator, [alice, bob]) = scene().await;
    let (alice_did, bob_did) = (alice.did.as_str(), bob.did.as_str());
    let all = operator.run(&["repo", "verify", "--all"]).await.unwrap();
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.out.starts_with("2 repositories checked (40 records, "), "{all:?}");
    let one = operator.run(&["repo", "verify", "--did", alice_did]).await.unwrap();
    assert_eq!(one.code, 0, "{one:?}");
    assert!(one.out.starts_with(&format!("{alice_did} is sound: 20 records, ")), "{one:?}");

    let node = damage::lose_node(&cluster.db().pool(), account_id(&cluster, &bob).await).await;
    let all = operator.run(&["repo", "verify", "--all", "--jobs", "2"]).await.unwrap();
    assert_eq!(all.code, 1, "{all:?}");
    assert!(all.out.contains(&format!("{bob_did} is DAMAGED: 1 findings")), "{all:?}");
    assert!(all.out.contains(&format!("  tree node {node}: not stored\n")), "{all:?}");
    assert!(!all.out.contains(alice_did), "{all:?}");
    assert_eq!(operator.run(&["repo", "verify", "--did", alice_did]).await.unwrap().code, 0);

    let json = operator.run(&["repo", "verify", "--all", "--json"]).await.unwrap();
    assert_eq!(json.code, 1, "{json:?}");
    let [damaged, totals] = &json.json()[..] else { panic!("{json:?}") };
    assert_eq!((&damaged["did"], &damaged["sound"]), (&bob_did.into(), &false.into()));
    assert_eq!(damaged["findings"], serde_json::json!([{"kind": "nodeMissing", "cid": node.to_string()}]));
    assert_eq!((&totals["checked"], &totals["damaged"]), (&2.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_neither_sound_nor_damaged() {
    let (_cluster, operator, [alice, _]) = scene().await;
    let unknown = operator.run(&["repo", "verify", "--did", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"]).await.unwrap();
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa has no repository here"), "{unknown:?}");
    let away = operator.with("PDS_DATABASE_URL", "postgres://postgres@127.0.0.1:1/none");
    let away = away.run(&["repo", "verify", "--did", alice.did.as_str()]).await.unwrap();
    assert_eq!((away.code, away.out.as_str()), (2, ""), "{away:?}");
    for bad in
        [&["repo", "verify"][..], &["repo", "verify", "--did", "alice"], &["repo", "verify", "--all", "--jobs", "0"]]
    {
        assert_eq!(operator.run(bad).await.unwrap().code, 2, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_asks_first_and_loses_nothing_unless_told_to() {
    let (cluster, operator, [alice, _]) = scene().await;
    let (pool, account) = (cluster.db().pool(), account_id(&cluster, &alice).await);
    let did = alice.did.as_str();
    let rebuild =
        async |more: &[&str]| operator.run(&[&["repo", "rebuild", "--did", did], more].concat()).await.unwrap();

    let sound = rebuild(&[]).await;
    assert_eq!(sound.code, 0, "{sound:?}");
    assert!(sound.out.contains("Nothing to do."), "{sound:?}");

    damage::add_node(&pool, account).await;
    let dry = rebuild(&["--dry-run"]).await;
    assert_eq!(dry.code, 1, "{dry:?}");
    assert!(dry.out.contains("A rebuild would lose no record."), "{dry:?}");
    let unasked = rebuild(&[]).await;
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert!(unasked.err.contains("give --yes if you mean it"), "{unasked:?}");

    seed::lose_record(&pool, did, POST, &rkey(1)).await;
    let refused = rebuild(&["--yes"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains(&format!("record {POST}/{}: the tree names it", rkey(1))), "{refused:?}");
    assert!(refused.out.contains("Nothing was changed: 1 records"), "{refused:?}");
    assert_eq!(operator.run(&["repo", "verify", "--did", did]).await.unwrap().code, 1);

    let json = rebuild(&["--yes", "--drop-damaged", "--json"]).await;
    assert_eq!(json.code, 0, "{json:?}");
    let [found, done] = &json.json()[..] else { panic!("{json:?}") };
    assert_eq!((&found["sound"], &done["rebuilt"], &done["records"]), (&false.into(), &true.into(), &19.into()));
    assert_eq!(operator.run(&["repo", "verify", "--did", did]).await.unwrap().code, 0);

    let stranger = operator.with("PDS_KEY_ENCRYPTION_KEY", &"03".repeat(32));
    let stranger = stranger.run(&["repo", "rebuild", "--did", did, "--force", "--yes"]).await.unwrap();
    assert_eq!(stranger.code, 2, "{stranger:?}");
    assert!(stranger.err.contains("no key-encryption key has the id"), "{stranger:?}");
}

/// What a relay would see of it: a `#sync`, and commits that follow on from there.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_subscribers_go_on_from_a_rebuild() -> Result<()> {
    let (cluster, operator, [alice, bob]) = scene().await;
    let (pool, account) = (cluster.db().pool(), account_id(&cluster, &alice).await);
    let did = alice.did.as_str();
    let key = alice.signing_key(cluster.plc());
    let mut live = Consumer::connect(cluster.api(1).origin(), None).await?;
    seed::lose_record(&pool, did, POST, &rkey(1)).await;
    damage::alter_root(&pool, account).await;

    // Others write meanwhile.
    let apis = [cluster.api(0), cluster.api(1)];
    let arguments = ["repo", "rebuild", "--did", did, "--drop-damaged", "--yes"];
    let others = try_join_all((0..10).map(|number| post(&bob, &apis, 100 + number)));
    let (rebuilt, others) = tokio::join!(operator.run(&arguments), others);
    others?;
    let rebuilt = rebuilt?;
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    // Both replicas knew the old head and the old nodes.
    for (number, api) in (200..).zip(&apis) {
        alice.post(api, "after", Some(&rkey(number))).await?;
    }

    let (mut tree, mut of_alice) = (None, 0);
    while of_alice < 3 {
        let received = live.next(LIMIT).await?;
        match received.event {
            Event::Sync(sync) if sync.did == alice.did => tree = Some(sync.verify(Some(&key))?),
            Event::Commit(commit) if commit.repo == alice.did => {
                let before = tree.replace(commit.verify(Some(&key))?).expect("the #sync comes first");
                assert_eq!((commit.since, commit.prev_data), (Some(before.rev), Some(before.data)));
            }
            _ => continue,
        }
        of_alice += 1;
    }
    live.close().await;
    for api in &apis {
        let archive = api.get_bytes("com.atproto.sync.getRepo", &[("did", did)]).await?;
        let repo = archive::verify(&archive, &alice.did, &key)?;
        assert_eq!((repo.records.len(), Some(repo.commit)), (21, tree.clone()));
    }
    Ok(())
}
