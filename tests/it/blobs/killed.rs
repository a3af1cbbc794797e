//! Workers that are killed in the middle of collecting, beside two replicas.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use common::db::PgPool;
use common::jobs::Jobs;
use common::testing::{blobs, lapse_lease, seed};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::stack::Server;
use tokio::time::timeout;

use crate::harness::account::Account;
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::operator::Operator;

const COLLECTION: &str = "com.example.picture";
const LIMIT: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// After which blobs are quarantined; after which they are given up; after which their bytes go; after which that is done.
const TIMES: [Duration; 4] =
    [HOUR.saturating_mul(25), HOUR.saturating_mul(24 * 8), Duration::from_mins(4), Duration::from_mins(11)];
/// More than a worker does between two looks of the test.
const PICTURES: u16 = 40;
/// Further ones that no record ever refers to.
const UNUSED: u16 = 10;

fn picture(number: u16) -> Vec<u8> {
    format!("picture {number}").into_bytes()
}

async fn show(api: &Client, account: &Account, number: u16) {
    let blob = api.upload(&account.token, "image/png", picture(number)).await.unwrap();
    let record = json!({ "picture": blob });
    let input = json!({ "repo": account.did, "collection": COLLECTION, "rkey": number.to_string(), "record": record });
    api.post("com.atproto.repo.createRecord", Some(&account.token), &input).await.unwrap();
}

async fn delete(api: &Client, account: &Account, number: u16) {
    let input = json!({ "repo": account.did, "collection": COLLECTION, "rkey": number.to_string() });
    api.post("com.atproto.repo.deleteRecord", Some(&account.token), &input).await.unwrap();
}

async fn take_down(api: &Client, account: &Account, number: u16, applied: bool) {
    let cid = Cid::raw(&picture(number)).to_string();
    let subject = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": account.did, "cid": cid });
    let input = json!({ "subject": subject, "takedown": { "applied": applied } });
    api.post_as_admin("com.atproto.admin.updateSubjectStatus", &input).await.unwrap();
}

async fn read(api: &Client, account: &Account, number: u16) -> Option<Vec<u8>> {
    let cid = Cid::raw(&picture(number)).to_string();
    let params = [("did", account.did.as_str()), ("cid", cid.as_str())];
    api.get_bytes("com.atproto.sync.getBlob", &params).await.ok().map(|bytes| bytes.to_vec())
}

/// The files of an account below a folder.
fn files(folder: &Path, did: &Did) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder.join(did.as_str())).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn names(numbers: impl Iterator<Item = u16>) -> BTreeSet<String> {
    numbers.map(|number| Cid::raw(&picture(number)).to_string()).collect()
}

/// How far collection is.
async fn progress(cluster: &Cluster, accounts: &[&Account]) -> (i64, i64, usize, usize) {
    let pool = cluster.db().pool();
    let rows = blobs::stored_blobs(&pool).await.len();
    let objects = accounts.iter().map(|account| files(cluster.blobs(), &account.did).len()).sum();
    (blobs::quarantined_blobs(&pool).await, seed::blob_deletions(&pool).await, rows, objects)
}

/// Kills a worker as if its machine had lost power: its lease is over.
async fn kill(worker: Server, pool: &PgPool) {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = format!("{}/{}", host.trim(), worker.pid().unwrap());
    worker.signal(Signal::SIGKILL);
    let mut worker = worker;
    worker.ended().await.unwrap();
    lapse_lease(pool, &name).await;
}

/// Has a worker collect, and kills it in the middle of a transaction that has locked so many blobs: nobody can write to them.
async fn die_within_a_transaction(cluster: &Cluster, accounts: &[&Account], (logs, blobs): (&Path, u16)) {
    let (operator, pool) = (Operator::of(cluster).unwrap(), cluster.db().pool());
    let before = progress(cluster, accounts).await;
    let held = cluster.db().hold_table("blob").await;
    Jobs::new(pool.clone()).hasten("unused_blobs").await.unwrap();
    let worker = operator.start_worker("worker", logs).await.unwrap();
    let parked = async {
        while blobs::locked_blobs(&pool).await != i64::from(blobs) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, parked).await.expect("it locks them, and comes no further");
    kill(worker, &pool).await;
    held.release().await;
    cluster.db().until_idle().await;
    assert_eq!((progress(cluster, accounts).await, blobs::locked_blobs(&pool).await), (before, 0), "all or nothing");
}

async fn collect(operator: &Operator) {
    let gc = operator.run(&["blob", "gc"]).await.unwrap();
    assert_eq!(gc.code, 0, "{gc:?}");
}

/// Has a worker collect, and kills it once it has begun.
async fn collect_and_die(cluster: &Cluster, accounts: &[&Account], logs: &Path) {
    let (operator, pool) = (Operator::of(cluster).unwrap(), cluster.db().pool());
    let before = progress(cluster, accounts).await;
    // The first worker of all makes the schedule, due at once.
    Jobs::new(pool.clone()).hasten("unused_blobs").await.unwrap();
    let worker = operator.start_worker("worker", logs).await.unwrap();
    let begun = async {
        while progress(cluster, accounts).await == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, begun).await.expect("it begins");
    kill(worker, &pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_lose_no_blob_and_what_they_left_is_found() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let (operator, pool, logs) = (Operator::of(&cluster).unwrap(), cluster.db().pool(), TempDir::new().unwrap());
    let (here, there) = (cluster.api(0), cluster.api(1));
    let (alice, bob) =
        (cluster.create_account("alice.test").await.unwrap(), cluster.create_account("bob.test").await.unwrap());
    let accounts = [&alice, &bob];
    let die_within = async |blobs: u16| die_within_a_transaction(&cluster, &accounts, (logs.path(), blobs)).await;
    // Uploads that nothing refers to are quarantined in one transaction, what lost its last reference in another, and both
    // are given up in a third.
    for number in PICTURES..PICTURES + UNUSED {
        here.upload(&bob.token, "image/png", picture(number)).await.unwrap();
    }
    seed::age_blobs(&pool, TIMES[0]).await;
    die_within(UNUSED).await;
    collect(&operator).await;
    for number in 0..PICTURES {
        show(&here, &alice, number).await;
        show(&there, &bob, number).await;
    }
    // Alice keeps the even ones, Bob the odd ones.
    let is_alices = |number: &u16| number.is_multiple_of(2);
    for number in 0..PICTURES {
        delete(&there, if is_alices(&number) { &bob } else { &alice }, number).await;
    }
    seed::age_blobs(&pool, TIMES[0]).await;
    die_within(PICTURES).await;
    collect(&operator).await;
    assert_eq!(blobs::quarantined_blobs(&pool).await, i64::from(PICTURES + UNUSED));
    seed::age_blobs(&pool, TIMES[1]).await;
    die_within(PICTURES + UNUSED).await;
    collect(&operator).await;
    assert_eq!(seed::blob_deletions(&pool).await, i64::from(PICTURES + UNUSED));
    for time in [TIMES[2], TIMES[3]] {
        seed::age_blobs(&pool, time).await;
        collect_and_die(&cluster, &accounts, logs.path()).await;
    }
    take_down(&here, &alice, 0, true).await;
    // What they left, and what is taken down stays.
    for time in TIMES {
        seed::age_blobs(&pool, time).await;
        collect(&operator).await;
    }
    let folder = cluster.blobs();
    let place = |account: &Account, folder: &Path| files(folder, &account.did);
    let quarantine = folder.join("quarantine");
    let worker = operator.start_worker("worker", logs.path()).await.unwrap();
    let placed = async {
        while !place(&alice, folder).is_disjoint(&names([0].into_iter())) || place(&alice, &quarantine).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, placed).await.expect("what is taken down is put out of use");
    for number in 0..PICTURES {
        let (owner, other) = if is_alices(&number) { (&alice, &bob) } else { (&bob, &alice) };
        for api in [&here, &there] {
            let expected = (number != 0).then(|| picture(number));
            assert_eq!(read(api, owner, number).await, expected, "{number}");
            assert_eq!(read(api, other, number).await, None, "{number}");
        }
    }
    take_down(&there, &alice, 0, false).await;
    assert_eq!(read(&here, &alice, 0).await, Some(picture(0)), "at once");
    let restored = async {
        while place(&alice, folder) != names((0..PICTURES).filter(is_alices)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, restored).await.expect("what is shown again is put back");
    assert_eq!(place(&bob, folder), names((0..PICTURES).filter(|number| !is_alices(number))));
    kill(worker, &pool).await;
    let verified = operator.run(&["blob", "verify", "--all", "--json"]).await.unwrap();
    assert_eq!((verified.code, &verified.json()[0]["checked"]), (0, &Value::from(PICTURES)), "{verified:?}");
}
