//! The plans of the commit function.

use super::planner::{Planner, send};
use super::stage::{FOLLOW, Stage, creation, delete, follow, path, update};
use super::store;
use crate::repo::PreparedWrite;
use crate::repo::commit::Outcome;

/// Writes of every kind.
fn writes(number: usize) -> [PreparedWrite; 4] {
    let record = follow("f", "did:web:somebody.test");
    [
        creation(&format!("new-{number}"), "x"),
        update("old-1", &format!("{number}")),
        delete(&format!("old-{}", 10 + number)),
        PreparedWrite::Create { path: path(FOLLOW, &format!("f{number}")), record, replace_links: false },
    ]
}

fn all_applied(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| *outcome == Outcome::Applied)
}

/// A plan that reads a whole table is fast in a test and ruins a server. Neither may a session have one that began when the
/// tables were empty, nor one that began later.
#[tokio::test]
async fn no_table_is_read_from_end_to_end() {
    let stage = Stage::with_repos(20).await;
    let (preparing, measured) = (stage.db.other_pool(), stage.db.other_pool());
    let planner = Planner::new(preparing.clone());
    let mut early = measured.acquire().await.unwrap();
    let fill: Vec<_> = (0..100).map(|number| creation(&format!("old-{number}"), "x")).collect();
    let mut batch = Vec::new();
    for repo in &stage.repos {
        batch.push(planner.plan(repo, planner.head(repo).await, &fill).await.unwrap());
    }
    assert!(all_applied(&send(&mut early, &batch).await));
    store::analyze(&preparing).await;
    let mut batch = Vec::new();
    for (number, repo) in stage.repos.iter().enumerate() {
        batch.push(planner.plan(repo, planner.head(repo).await, &writes(number)).await.unwrap());
    }
    preparing.close().await;
    stage.db.pool().close().await;
    store::wait_until_alone(&mut early).await;

    let late = measured.acquire().await.unwrap();
    for mut conn in [early, late] {
        for size in [1, 9] {
            let before = store::scans(&mut conn).await;
            let rest = batch.split_off(size);
            assert!(all_applied(&send(&mut conn, &batch).await));
            batch = rest;
            let after = store::scans(&mut conn).await;
            assert_eq!(after.len(), 5);
            for (table, (whole, by_index)) in after {
                assert_eq!(whole, before[&table].0, "{table} was read from end to end");
                assert!(by_index > before[&table].1, "{table} was not read");
            }
        }
    }
}
