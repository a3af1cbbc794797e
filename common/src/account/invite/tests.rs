use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::audit::{AuditLog, Filter};
use crate::config::Config;
use crate::testing::{TestDb, seed};

const DAY: Duration = Duration::from_hours(24);

struct Scene {
    db: TestDb,
    clock: Clock,
    invites: Invites,
    accounts: Accounts,
}

impl Scene {
    async fn start() -> Self {
        let db = TestDb::create().await;
        // Accounts are made by Postgres's clock; none of a test is younger than the test thinks.
        let clock = Clock::manual(Clock::system().now() + Duration::from_mins(10));
        let accounts = Accounts::new(db.pool());
        Self { invites: invites(db.pool(), &clock), clock, accounts, db }
    }

    async fn account(&self, name: &str) -> Account {
        let handle = format!("{name}.test");
        seed::account(&self.db.pool(), &handle).await;
        self.accounts.find_by_handle(&handle.parse().unwrap()).await.unwrap().unwrap()
    }

    async fn create(&self, codes: usize, uses: i32, accounts: &[&Did]) -> Vec<AccountInvites> {
        let accounts = accounts.iter().map(|did| (*did).clone()).collect();
        self.invites.create(&Actor::Admin, &NewInvites { codes, uses, accounts }).await.unwrap()
    }

    async fn audited(&self) -> Vec<(String, String)> {
        let entries = AuditLog::new(self.db.pool()).list(&Filter::default(), 100).await.unwrap();
        entries.into_iter().rev().map(|entry| (entry.action, entry.subject)).collect()
    }
}

fn invites(pool: PgPool, clock: &Clock) -> Invites {
    let mut config = Config::for_tests();
    config.service.hostname = "pds.example.com".to_owned();
    config.invites = InvitesConfig { required: true, interval: Some(DAY), epoch: DateTime::UNIX_EPOCH };
    Invites::new(pool, clock.clone(), &config.service, &config.invites)
}

#[tokio::test]
async fn a_code_is_usable_until_something_speaks_against_it() {
    let scene = Scene::start().await;
    let pool = scene.db.pool();
    let is_usable = async |code: &str| scene.accounts.is_usable_invite(code).await.unwrap();
    assert!(!is_usable("unknown").await);
    assert!(!is_usable("NUL\0").await);

    seed::invite_code(&pool, "twice", 2).await;
    seed::use_invite(&pool, "twice", scene.account("alice").await.id).await;
    assert!(is_usable("twice").await);
    seed::use_invite(&pool, "twice", scene.account("bob").await.id).await;
    assert!(!is_usable("twice").await);

    seed::invite_code(&pool, "disabled", 1).await;
    assert!(is_usable("disabled").await);
    seed::disable_invite(&pool, "disabled").await;
    assert!(!is_usable("disabled").await);

    seed::invite_code(&pool, "of-carol", 1).await;
    let carol = scene.account("carol").await;
    seed::give_invite(&pool, "of-carol", carol.did.as_str()).await;
    assert!(is_usable("of-carol").await);
    seed::set_taken_down(&pool, carol.did.as_str(), true).await;
    assert!(!is_usable("of-carol").await);
}

#[tokio::test]
async fn the_operator_makes_codes_for_some_or_for_nobody() {
    let scene = Scene::start().await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    let [nobodys] = &scene.create(1, 3, &[]).await[..] else { panic!("one list") };
    assert_eq!(nobodys.account, OPERATOR);
    let code = &nobodys.codes[0];
    let random = code.strip_prefix("pds-example-com-").unwrap();
    assert!(random.len() == 11 && random.as_bytes()[5] == b'-', "{code}");
    assert!(random.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)));

    let made = scene.create(2, 1, &[&alice.did, &bob.did]).await;
    assert_eq!(
        made.iter().map(|owned| owned.account.as_str()).collect::<Vec<_>>(),
        [alice.did.as_str(), bob.did.as_str()]
    );
    let listed = scene.invites.list_of(&alice, false).await.unwrap();
    let mut expected = made[0].codes.clone();
    expected.sort();
    assert_eq!(listed.iter().map(|invite| &invite.code).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert_eq!((listed[0].available, listed[0].disabled, listed[0].created_by.as_str()), (1, false, OPERATOR));

    for (codes, uses) in [(1, 0), (1, -1), (1, MAX_USES + 1), (0, 1), (MAX_CODES + 1, 1)] {
        let refused = scene.invites.create(&Actor::Admin, &NewInvites { codes, uses, accounts: vec![] }).await;
        assert!(matches!(refused, Err(InviteError::Uses | InviteError::Codes)), "{codes} {uses} {refused:?}");
    }
    let created = |subject: &str| ("invite.create".to_owned(), subject.to_owned());
    assert_eq!(scene.audited().await, [created("server"), created("server")]);
    scene.create(1, 1, &[&alice.did]).await;
    assert_eq!(scene.audited().await[2], created(alice.did.as_str()));
}

#[tokio::test]
async fn who_used_a_code_is_known() {
    let scene = Scene::start().await;
    let (alice, bob) = (scene.account("alice").await, scene.account("bob").await);
    let made = scene.create(1, 1, &[&alice.did]).await.remove(0).codes.remove(0);
    seed::use_invite(&scene.db.pool(), &made, bob.id).await;
    let used = scene.invites.list_used_by(&[&bob.did]).await.unwrap();
    assert_eq!((used.len(), &used[0].code, &used[0].uses[0].used_by), (1, &made, &bob.did));
    assert!(used[0].is_used_up());
    assert_eq!(scene.invites.list_used_by(&[&alice.did]).await.unwrap(), []);
    assert_eq!(scene.invites.list_of_all(&[&alice.did, &bob.did]).await.unwrap(), used);
}

#[tokio::test]
async fn codes_are_listed_by_age_or_by_use() {
    let scene = Scene::start().await;
    let mut codes = Vec::new();
    for name in ["alice", "bob", "carol", "dave", "erin"] {
        let user = scene.account(name).await.id;
        codes.push(scene.create(1, 5, &[]).await.remove(0).codes.remove(0));
        scene.clock.advance(DAY);
        // The first code is used once, the second twice…, the last not at all.
        for code in &codes[..codes.len() - 1] {
            seed::use_invite(&scene.db.pool(), code, user).await;
        }
    }
    let listed = async |order| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = scene.invites.list(order, after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(InvitePlace::of(order, last));
            found.extend(page.into_iter().map(|invite| invite.code));
        }
        found
    };
    let newest_first: Vec<String> = codes.iter().rev().cloned().collect();
    assert_eq!(listed(InviteOrder::Recent).await, newest_first);
    assert_eq!(listed(InviteOrder::Usage).await, codes);
}

#[tokio::test]
async fn stopped_codes_stay_stopped_and_are_named_in_the_log() {
    let scene = Scene::start().await;
    let alice = scene.account("alice").await;
    let made = scene.create(3, 1, &[&alice.did]).await.remove(0).codes;
    let disable = async |codes: &[&str], accounts: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        scene.invites.disable(&Actor::Admin, &owned(codes), &owned(accounts)).await
    };
    assert_eq!(disable(&[&made[0], "unknown", "NUL\0"], &[]).await.unwrap(), 1);
    assert!(!scene.accounts.is_usable_invite(&made[0]).await.unwrap());
    assert!(scene.accounts.is_usable_invite(&made[1]).await.unwrap());
    assert_eq!(disable(&[&made[0]], &[alice.did.as_str()]).await.unwrap(), 2);
    assert_eq!(disable(&[&made[1]], &[]).await.unwrap(), 0);
    let refused = disable(&[], &[OPERATOR]).await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot disable admin invite codes");
    let subjects: Vec<String> = scene.audited().await.into_iter().skip(1).map(|(_, subject)| subject).collect();
    assert_eq!(subjects, ["server", "server", made[1].as_str()]);
}

#[tokio::test]
async fn codes_are_earned_once_however_many_ask() {
    let scene = Scene::start().await;
    let alice = scene.account("alice").await;
    assert_eq!(scene.invites.list_of(&alice, true).await.unwrap(), []);
    scene.clock.advance(DAY * 3);
    assert_eq!(scene.invites.list_of(&alice, false).await.unwrap(), [], "only who asks gets them");
    let other = invites(scene.db.other_pool(), &scene.clock);
    let calls = (0..8).map(|n| if n % 2 == 0 { &scene.invites } else { &other }.list_of(&alice, true));
    let lists: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert!(lists.iter().all(|list| *list == lists[0] && list.len() == 3), "{lists:?}");
    assert!(lists[0].iter().all(|invite| invite.created_by == alice.did.as_str() && invite.available == 1));
    assert!(scene.accounts.is_usable_invite(&lists[0][0].code).await.unwrap());
    scene.clock.advance(DAY * 100);
    assert_eq!(scene.invites.list_of(&alice, true).await.unwrap().len(), 5);
}

#[tokio::test]
async fn who_may_not_invite_earns_codes_that_are_stopped() {
    let scene = Scene::start().await;
    let alice = scene.account("alice").await;
    scene.clock.advance(DAY);
    assert!(!scene.invites.list_of(&alice, true).await.unwrap()[0].disabled);
    let set =
        async |allowed| scene.invites.set_allowed(&Actor::Admin, &alice.did, allowed, Some("spam")).await.unwrap();
    assert!(set(false).await);
    scene.clock.advance(DAY);
    let codes = scene.invites.list_of(&alice, true).await.unwrap();
    assert_eq!(codes.iter().map(|invite| invite.disabled).collect::<Vec<_>>(), [false, true]);
    assert!(set(true).await);
    let entries = AuditLog::new(scene.db.pool()).list(&Filter::default(), 10).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(),
        ["account.enable_invites", "account.disable_invites"]
    );
    assert_eq!(entries[0].before, Some(json!({ "invitesDisabled": true })));
    assert_eq!(entries[0].after, Some(json!({ "invitesDisabled": false, "note": "spam" })));
    let unknown: Did = "did:plc:unknown".parse().unwrap();
    assert!(!scene.invites.set_allowed(&Actor::Admin, &unknown, true, None).await.unwrap());
    assert_eq!(scene.audited().await.len(), 2);
}
