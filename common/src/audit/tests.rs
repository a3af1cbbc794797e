use atproto::syntax::Did;
use serde_json::json;

use super::*;
use crate::testing::TestDb;

fn did(name: &str) -> Did {
    format!("did:plc:{name}").parse().unwrap()
}

fn note(name: &str, actor: Actor) -> Act {
    Act::new(actor, Action::TakeDownAccount, Subject::Account(did(name)))
}

#[tokio::test]
async fn an_entry_stands_and_falls_with_its_transaction() {
    let db = TestDb::create().await;
    let log = AuditLog::new(db.pool());
    let mut conn = db.pool().acquire().await.unwrap();
    let mut transaction = conn.begin().await.unwrap();
    record(&mut transaction, &note("alice", Actor::Admin)).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(log.list(&Filter::default(), 10).await.unwrap(), []);

    let act = note("alice", Actor::Admin).from(json!({ "takedown": null })).to(json!({ "takedown": "x" }));
    let mut transaction = conn.begin().await.unwrap();
    record(&mut transaction, &act).await.unwrap();
    transaction.commit().await.unwrap();
    let page = log.list(&Filter::default(), 10).await.unwrap();
    let [entry] = &page[..] else { panic!("{page:?}") };
    assert_eq!((entry.actor.as_str(), entry.action.as_str()), ("admin", "account.takedown"));
    assert_eq!((entry.subject.as_str(), entry.did.as_deref()), ("did:plc:alice", Some("did:plc:alice")));
    assert_eq!((entry.outcome.as_str(), entry.begun_id, &entry.reason), ("done", None, &None));
    assert_eq!((&entry.before, &entry.after), (&act.before, &act.after));
}

#[tokio::test]
async fn a_witnessed_act_has_a_beginning_and_an_end() {
    let db = TestDb::create().await;
    let log = AuditLog::new(db.pool());
    let act = note("alice", Actor::Command("root".to_owned()));
    let done: sqlx::Result<u8> = log.witness(&act, async { Ok(7) }).await;
    assert_eq!(done.unwrap(), 7);
    let failed: sqlx::Result<u8> = log.witness(&act, async { Err(sqlx::Error::RowNotFound) }).await;
    assert!(matches!(failed, Err(sqlx::Error::RowNotFound)));

    let page = log.list(&Filter::default(), 10).await.unwrap();
    let outcomes: Vec<&str> = page.iter().map(|entry| entry.outcome.as_str()).collect();
    assert_eq!(outcomes, ["failed", "begun", "done", "begun"], "the newest first");
    assert_eq!((page[0].begun_id, page[2].begun_id), (Some(page[1].id), Some(page[3].id)));
    assert_eq!(page[0].reason.as_deref(), Some(sqlx::Error::RowNotFound.to_string().as_str()));
    assert!(page.iter().all(|entry| entry.actor == "command:root" && entry.subject == "did:plc:alice"));
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_noted() {
    let db = TestDb::create().await;
    let log = AuditLog::new(db.other_pool());
    log.pool.close().await;
    let witnessed: sqlx::Result<()> = log.witness(&note("alice", Actor::Admin), async { panic!("done") }).await;
    assert!(matches!(witnessed, Err(sqlx::Error::PoolClosed)));
}

#[tokio::test]
async fn filters_pick_and_pages_follow_each_other() {
    let db = TestDb::create().await;
    let log = AuditLog::new(db.pool());
    let moderator = Actor::Service(did("moderator"));
    for n in 0..6 {
        let actor = if n % 2 == 0 { Actor::Admin } else { moderator.clone() };
        log.record(&note(if n < 3 { "alice" } else { "bob" }, actor)).await.unwrap();
    }
    let uri = "at://did:plc:alice/com.example.note/a";
    let hidden = Act::new(Actor::Admin, Action::TakeDownRecord, Subject::Record(uri.parse().unwrap()));
    log.record(&hidden).await.unwrap();

    let all = log.list(&Filter::default(), 100).await.unwrap();
    let count = async |filter: Filter| log.list(&filter, 100).await.unwrap().len();
    let by = |actor: &str| Some(actor.to_owned());
    let of = |subject: &str| Some(subject.to_owned());
    assert_eq!(count(Filter { actor: by("admin"), ..Filter::default() }).await, 4);
    assert_eq!(count(Filter { subject: of("did:plc:alice"), ..Filter::default() }).await, 4, "its record included");
    assert_eq!(count(Filter { subject: of(uri), ..Filter::default() }).await, 1);
    let both = Filter { subject: of("did:plc:bob"), actor: by("did:plc:moderator"), ..Filter::default() };
    assert_eq!(count(both).await, 2);
    assert_eq!(count(Filter { subject: of("did:plc:carol"), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { actor: by("a\0"), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { since: Some(all[2].at), ..Filter::default() }).await, 3);

    let mut paged = Vec::new();
    let mut filter = Filter::default();
    loop {
        let page = log.list(&filter, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, all);
}
