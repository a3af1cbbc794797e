//! Every kind of damage is found and named, and nothing else is.

use atproto::crypto::SigningKey;
use atproto::data::{BlobRef, Cid, Ipld, cbor};

use super::stage::{FOLLOW, Stage, THING, follow, path, write};
use crate::repo::{Finding, PreparedRecord, PreparedWrite, RepoRef, Report, Repos, Verifier};
use crate::testing::damage;
use crate::testing::seed::{self, SeededRepo};

/// In the tree its records come before those of [`THING`], though its name comes after.
const LONGER: &str = "com.example.thing.more";
const RECORDS: u64 = 305;

/// A repo with records of three collections, and another one beside it.
pub(super) async fn filled() -> (Stage, Repos) {
    let stage = Stage::with_repos(2).await;
    let repos = stage.replica();
    let record = |collection: &str, rkey: &str| {
        let value = Ipld::Map([("text".to_owned(), Ipld::String(rkey.to_owned()))].into());
        PreparedRecord::new(&path(collection, rkey), value, None).unwrap()
    };
    let create = |path, record| PreparedWrite::Create { path, record, replace_links: false };
    let things: Vec<_> = (0..300)
        .map(|number| (if number % 3 == 0 { LONGER } else { THING }, format!("{number:03}")))
        .map(|(collection, rkey)| create(path(collection, &rkey), record(collection, &rkey)))
        .collect();
    for repo in &stage.repos {
        for writes in things.chunks(150) {
            write(&repos, repo, writes).await.unwrap();
        }
        let follows: Vec<_> = (0..5)
            .map(|number| create(path(FOLLOW, &format!("f{number}")), follow("x", &format!("did:plc:{number}"))))
            .collect();
        write(&repos, repo, &follows).await.unwrap();
    }
    stage.assert_sound().await;
    (stage, repos)
}

pub(super) async fn verify(stage: &Stage, repo: &SeededRepo) -> Report {
    let found = RepoRef { account: repo.account, did: repo.did.clone() };
    Verifier::new(stage.db.pool()).verify(&found).await.unwrap().expect("a repo")
}

/// What is wrong with the first repo. The other one is untouched.
async fn findings(stage: &Stage) -> Vec<Finding> {
    assert!(verify(stage, &stage.repos[1]).await.findings.is_empty());
    verify(stage, stage.repo()).await.findings.listed().to_vec()
}

fn text(rkey: &str) -> String {
    format!("{THING}/{rkey}")
}

/// The value of a record that is none of those in [`filled`].
fn foreign_value() -> Vec<u8> {
    cbor::encode(&Ipld::Map([("text".to_owned(), Ipld::String("foreign".to_owned()))].into())).unwrap()
}

#[tokio::test]
async fn sound_repos_are_sound() {
    let (stage, _) = filled().await;
    let report = verify(&stage, stage.repo()).await;
    assert_eq!((report.records, report.findings.listed()), (RECORDS, &[][..]));
    assert!(report.nodes > 50);
    let verifier = Verifier::new(stage.db.pool());
    assert_eq!(verifier.count().await.unwrap(), 2);
    let all = verifier.list(None, 10).await.unwrap();
    assert!(all.iter().map(|repo| &repo.did).eq(stage.repos.iter().map(|repo| &repo.did)));
    assert_eq!(verifier.list(Some(all[0].account), 10).await.unwrap(), all[1..]);
    assert_eq!(verifier.find(&all[1].did).await.unwrap().as_ref(), Some(&all[1]));
    let gone = RepoRef { account: crate::db::AccountId::new(-1), ..all[0].clone() };
    assert_eq!(verifier.verify(&gone).await.unwrap(), None);
}

#[tokio::test]
async fn damaged_nodes_are_named() {
    let (stage, _) = filled().await;
    let (pool, account) = (stage.db.pool(), stage.repo().account);
    let lost = damage::lose_node(&pool, account).await;
    assert_eq!(findings(&stage).await, [Finding::NodeMissing { cid: lost.to_string() }]);
    let altered = damage::alter_root(&pool, account).await;
    let added = damage::add_node(&pool, account).await;
    let mut found = findings(&stage).await;
    found.sort_by_key(ToString::to_string);
    let mut expected = [
        Finding::NodeMissing { cid: lost.to_string() },
        Finding::NodeAltered { cid: altered.to_string() },
        Finding::NodeSurplus { cid: added.to_string() },
    ];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn records_that_the_tree_names_otherwise_are_named() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    seed::lose_record(&pool, repo.did.as_str(), THING, "001").await;
    damage::put_record(&pool, repo.account, (THING, "100"), &foreign_value()).await;
    damage::put_record(&pool, repo.account, (THING, "zzz"), &foreign_value()).await;
    damage::put_record(&pool, repo.account, ("com.example.alone", "new"), &foreign_value()).await;
    let found = findings(&stage).await;
    let paths: Vec<(&str, &str)> = found
        .iter()
        .map(|finding| match finding {
            Finding::RecordMissing { path, .. } => ("missing", path.as_str()),
            Finding::RecordOther { path, .. } => ("other", path.as_str()),
            Finding::RecordSurplus { path } => ("surplus", path.as_str()),
            Finding::Count { stored: 305, counted: 306 } => ("count", ""),
            Finding::CollectionMissing { collection } => ("collection", collection.as_str()),
            finding => panic!("{finding}"),
        })
        .collect();
    let expected = [
        ("count", ""),
        ("surplus", "com.example.alone/new"),
        ("missing", &text("001")),
        ("other", &text("100")),
        ("surplus", &text("zzz")),
        ("collection", "com.example.alone"),
    ];
    assert_eq!(paths, expected, "and no node: those of the old tree are all there");
}

#[tokio::test]
async fn a_lost_node_hides_no_record_of_the_rest() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    seed::lose_record(&pool, repo.did.as_str(), THING, "001").await;
    let root = damage::alter_root(&pool, repo.account).await;
    let found = findings(&stage).await;
    // The root tells no more which records there were. Of its subtrees those are known that the records make, too.
    assert!(found.contains(&Finding::NodeAltered { cid: root.to_string() }), "{found:?}");
    assert!(found.contains(&Finding::Count { stored: 305, counted: 304 }), "{found:?}");
    assert!(!found.iter().any(|finding| matches!(finding, Finding::RecordSurplus { .. })), "{found:?}");
}

#[tokio::test]
async fn damaged_records_are_named() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    damage::alter_record(&pool, repo.account, THING, "002").await;
    let cid = super::stage::cid_at(&stage.replica(), repo, "002").await.unwrap().to_string();
    assert_eq!(findings(&stage).await, [Finding::RecordHash { path: text("002"), cid }]);

    // Bytes that their CID names, and that are no value; and what is no path.
    damage::put_record(&pool, repo.account, (THING, "zzz"), &[0xff]).await;
    damage::put_record(&pool, repo.account, ("nowhere", "a"), &foreign_value()).await;
    let found = findings(&stage).await;
    let is_found = |wanted: &str| found.iter().any(|finding| finding.to_string().starts_with(wanted));
    assert!(is_found(&format!("record {}: malformed DAG-CBOR", text("zzz"))), "{found:?}");
    assert!(is_found("record nowhere/a: this is no path"), "{found:?}");
    assert!(is_found(&format!("record {}: stored, but the tree does not name it", text("zzz"))), "{found:?}");
}

#[tokio::test]
async fn a_wrong_count_and_impossible_revs_are_named() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    damage::miscount(&pool, repo.account).await;
    assert_eq!(findings(&stage).await, [Finding::Count { stored: 306, counted: 305 }]);
    damage::postdate(&pool, repo.account).await;
    let report = verify(&stage, repo).await;
    let found = report.findings.listed();
    let records = found.iter().filter(|finding| matches!(finding, Finding::RecordRev { .. })).count();
    let nodes = found.iter().filter(|finding| matches!(finding, Finding::NodeRev { .. })).count();
    assert_eq!((u64::try_from(records), u64::try_from(nodes)), (Ok(report.records), Ok(report.nodes)));
}

#[tokio::test]
async fn a_damaged_commit_is_named() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    let other = SigningKey::generate(&mut rand::rng());
    damage::forge_commit(&pool, repo, &other).await;
    assert_eq!(findings(&stage).await, [Finding::Signature]);

    damage::alter_commit(&pool, repo.account).await;
    let found = findings(&stage).await;
    assert!(matches!(found[0], Finding::CommitHash { .. }), "{found:?}");
    assert_eq!(found[1..], [Finding::Signature]);
}

#[tokio::test]
async fn wrong_links_are_named() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    damage::turn_links(&pool, repo.account).await;
    let turned = findings(&stage).await;
    assert_eq!(turned.len(), 5);
    assert!(turned.iter().all(|finding| matches!(finding, Finding::LinkOther { .. })), "{turned:?}");

    damage::lose_links(&pool, repo.account).await;
    damage::add_link(&pool, repo.account, FOLLOW, "f9").await;
    damage::add_link(&pool, repo.account, THING, "001").await;
    let found = findings(&stage).await;
    let (missing, stray): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| matches!(finding, Finding::LinkMissing { .. }));
    let target = "did:plc:nobody".to_owned();
    assert_eq!(missing.len(), 5);
    let paths = [format!("{FOLLOW}/f9"), text("001")];
    assert_eq!(stray, paths.map(|path| Finding::LinkStray { path, target: target.clone() }));
}

#[tokio::test]
async fn wrong_references_to_blobs_are_named() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    let (picture, other) = (Cid::raw(b"a picture"), Cid::raw(b"another one"));
    damage::put_record(&pool, repo.account, (THING, "zzz"), &with_blob(picture)).await;
    damage::add_blob(&pool, repo.account, (THING, "001"), other).await;
    damage::add_blob(&pool, repo.account, (THING, "nobody"), other).await;
    let found = findings(&stage).await;
    let is_blob = |finding: &&Finding| matches!(finding, Finding::BlobMissing { .. } | Finding::BlobStray { .. });
    let found: Vec<Finding> = found.iter().filter(is_blob).cloned().collect();
    let (picture, other) = (picture.to_string(), other.to_string());
    assert_eq!(
        found,
        [
            Finding::BlobStray { path: text("001"), cid: other.clone() },
            Finding::BlobStray { path: text("nobody"), cid: other },
            Finding::BlobMissing { path: text("zzz"), cid: picture },
        ]
    );
}

/// The value of a record that refers to a blob.
pub(super) fn with_blob(cid: Cid) -> Vec<u8> {
    let blob = BlobRef { cid, mime_type: "image/png".to_owned(), size: Some(9) };
    cbor::encode(&Ipld::Map([("picture".to_owned(), blob.to_ipld())].into())).unwrap()
}

#[tokio::test]
async fn a_repo_that_lost_everything_is_listed_in_part() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    for rkey in 0..300 {
        let collection = if rkey % 3 == 0 { LONGER } else { THING };
        seed::lose_record(&pool, repo.did.as_str(), collection, &format!("{rkey:03}")).await;
    }
    let report = verify(&stage, repo).await;
    assert_eq!((report.records, report.findings.losses()), (5, 300));
    let node = damage::lose_node(&pool, repo.account).await;
    let named = verify(&stage, repo).await.findings;
    assert!(named.listed().contains(&Finding::NodeMissing { cid: node.to_string() }));
    assert_eq!(Cid::from_bytes(node.as_bytes()), Ok(node));
}

#[tokio::test]
async fn collections_are_held_against_those_of_the_records() {
    let (stage, _) = filled().await;
    let stray = "com.example.nothing";
    damage::swap_collections(&stage.db.pool(), stage.repo().account, stray).await;
    let mut found = findings(&stage).await;
    found.sort_by_key(ToString::to_string);
    let missing = |collection: &str| Finding::CollectionMissing { collection: collection.to_owned() };
    let mut expected = vec![missing(FOLLOW), missing(THING), missing(LONGER)];
    expected.push(Finding::CollectionStray { collection: stray.to_owned() });
    expected.sort_by_key(ToString::to_string);
    assert_eq!(found, expected);
}
