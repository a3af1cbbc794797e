//! Rotation against a real database.

use chrono::DateTime;

use super::*;
use crate::account::Accounts;
use crate::testing::{TestDb, seed};

const MINUTE: Duration = Duration::from_mins(1);
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA";
const MAIN: Opening<'_> = Opening::MainPassword { hash: HASH };

struct World {
    db: TestDb,
    clock: Clock,
    sessions: Sessions,
    account: AccountId,
}

async fn world() -> World {
    let db = TestDb::create().await;
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let sessions = Sessions::new(db.pool(), clock.clone());
    let account = seed::account(&db.pool(), "alice.test").await;
    seed::set_password(&db.pool(), account, &HASH.parse().unwrap()).await;
    World { db, clock, sessions, account }
}

impl World {
    async fn start(&self) -> RefreshTokenId {
        self.sessions.start(self.account, MAIN, None).await.unwrap().unwrap().id
    }

    async fn rotate(&self, id: &RefreshTokenId) -> Option<RefreshTokenId> {
        self.sessions.rotate(self.account, id).await.unwrap().map(|rotated| rotated.token.id)
    }
}

#[test]
fn ids_are_parsed_strictly() {
    let id = RefreshTokenId::generate();
    assert_eq!(id.as_str().len(), 44);
    assert_eq!(id.as_str().parse(), Ok(id));
    for text in
        ["", "AAAA", "not base64 at all, but of the right length !", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
    {
        assert_eq!(text.parse::<RefreshTokenId>(), Err(RefreshTokenIdError), "{text}");
    }
}

#[tokio::test]
async fn a_token_is_exchanged_for_the_same_one_within_the_grace_period() {
    let world = world().await;
    let first = world.start().await;
    let second = world.rotate(&first).await.unwrap();
    assert_ne!(first, second);

    world.clock.advance(REFRESH_GRACE.saturating_sub(MINUTE));
    assert_eq!(world.rotate(&first).await.as_ref(), Some(&second));
    // Using it again does not start the grace period again.
    world.clock.advance(MINUTE);
    assert_eq!(world.rotate(&first).await, None);
    assert!(world.rotate(&second).await.is_some());
}

#[tokio::test]
async fn the_grace_period_never_lengthens_a_life() {
    let world = world().await;
    let first = world.start().await;
    world.clock.advance(REFRESH_LIFETIME.saturating_sub(MINUTE));
    assert!(world.rotate(&first).await.is_some());
    world.clock.advance(MINUTE);
    assert_eq!(world.rotate(&first).await, None);
}

#[tokio::test]
async fn a_new_token_lives_its_full_life() {
    let world = world().await;
    let first = world.start().await;
    world.clock.advance(REFRESH_LIFETIME.saturating_sub(MINUTE));
    let second = world.sessions.rotate(world.account, &first).await.unwrap().unwrap();
    let second = second.token;
    assert_eq!(second.expires_at, world.clock.now() + REFRESH_LIFETIME);
    world.clock.advance(REFRESH_LIFETIME.saturating_sub(MINUTE));
    assert!(world.rotate(&second.id).await.is_some());
}

#[tokio::test]
async fn unknown_and_foreign_tokens_are_refused() {
    let world = world().await;
    let first = world.start().await;
    assert_eq!(world.rotate(&RefreshTokenId::generate()).await, None);
    let bob = seed::account(&world.db.pool(), "bob.test").await;
    assert_eq!(world.sessions.rotate(bob, &first).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_rotate_at_once_agree() {
    let world = world().await;
    let first = world.start().await;
    let replicas = [&world.sessions, &Sessions::new(world.db.other_pool(), world.clock.clone())];
    let attempts = (0..16).map(|turn| replicas[turn % 2].rotate(world.account, &first));
    let tokens = futures_util::future::try_join_all(attempts).await.unwrap();
    let tokens: Vec<_> = tokens.into_iter().map(|rotated| rotated.map(|rotated| rotated.token)).collect();
    let second = tokens[0].clone().unwrap();
    assert!(tokens.iter().all(|token| token.as_ref() == Some(&second)));
    assert!(world.rotate(&second.id).await.is_some());
}

#[tokio::test]
async fn ending_a_session_ends_every_token_of_it_and_no_other() {
    for used in 0..3 {
        let world = world().await;
        let other = world.start().await;
        let mut chain = vec![world.start().await];
        for _ in 0..2 {
            chain.push(world.rotate(chain.last().unwrap()).await.unwrap());
        }
        world.sessions.end(&chain[used]).await.unwrap();
        for id in &chain {
            assert_eq!(world.rotate(id).await, None);
        }
        assert!(world.rotate(&other).await.is_some());
        world.sessions.end(&chain[used]).await.unwrap();
    }
}

#[tokio::test]
async fn exchanging_removes_the_accounts_expired_tokens() {
    let world = world().await;
    let forgotten = world.start().await;
    world.clock.advance(REFRESH_LIFETIME / 2);
    let used = world.start().await;
    world.clock.advance(REFRESH_LIFETIME / 2);
    world.rotate(&used).await.unwrap();
    assert_eq!(seed::refresh_tokens(&world.db.pool(), world.account).await, 2);
    assert_eq!(world.rotate(&forgotten).await, None);
}

#[tokio::test]
async fn a_session_is_opened_only_with_what_is_there() {
    let world = world().await;
    let pool = world.db.pool();
    let open = async |opening| world.sessions.start(world.account, opening, None).await.unwrap().is_some();
    assert!(open(MAIN).await);
    assert!(!open(Opening::MainPassword { hash: "another" }).await, "changed meanwhile");
    assert!(!open(Opening::AppPassword { name: "phone" }).await, "revoked meanwhile");
    seed::app_password(&pool, world.account, "phone", false).await;
    assert!(open(Opening::AppPassword { name: "phone" }).await);
    seed::delete_account(&pool, &seed::did_of("alice.test")).await;
    assert!(!open(MAIN).await);
    assert!(!open(Opening::AppPassword { name: "phone" }).await);
}

#[tokio::test]
async fn a_session_remembers_what_it_was_opened_with() {
    let world = world().await;
    for (name, privileged) in [("phone", false), ("chat", true)] {
        seed::app_password(&world.db.pool(), world.account, name, privileged).await;
        let first = world.sessions.start(world.account, Opening::AppPassword { name }, None).await.unwrap().unwrap();
        let mut id = first.id;
        for _ in 0..2 {
            let rotated = world.sessions.rotate(world.account, &id).await.unwrap().unwrap();
            assert_eq!(rotated.origin, Origin::AppPassword { privileged });
            id = rotated.token.id;
        }
    }
    let main = world.start().await;
    let rotated = world.sessions.rotate(world.account, &main).await.unwrap().unwrap();
    assert_eq!(rotated.origin, Origin::MainPassword);
}

#[tokio::test]
async fn the_sessions_of_an_app_password_end_with_it() {
    let world = world().await;
    let main = world.start().await;
    seed::app_password(&world.db.pool(), world.account, "phone", false).await;
    let opening = Opening::AppPassword { name: "phone" };
    let first = world.sessions.start(world.account, opening, None).await.unwrap().unwrap().id;
    let second = world.rotate(&first).await.unwrap();
    Accounts::new(world.db.pool()).revoke_app_password(world.account, "phone").await.unwrap();
    for id in [first, second] {
        assert_eq!(world.rotate(&id).await, None);
    }
    assert!(world.rotate(&main).await.is_some());
}

#[tokio::test]
async fn expired_tokens_are_removed_and_no_others() {
    let world = world().await;
    for _ in 0..5 {
        world.start().await;
    }
    world.clock.advance(MINUTE);
    let young = world.start().await;
    world.clock.advance(REFRESH_LIFETIME.saturating_sub(MINUTE));
    assert_eq!(world.sessions.delete_expired_by(2).await.unwrap(), 5);
    assert_eq!(world.sessions.delete_expired().await.unwrap(), 0);
    assert!(world.rotate(&young).await.is_some());
}

/// The exchange has happened when the session is ended, but nobody can see it yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_prolonged_ends_with_its_session() {
    let world = world().await;
    let first = world.start().await;
    let mut conn = world.db.other_pool().acquire().await.unwrap();
    let mut prolonging = conn.begin().await.unwrap();
    let now = world.clock.now();
    let rotation = store::Rotation {
        account: world.account,
        id: &first,
        now,
        next: world.sessions.new_token(),
        grace_ends_at: now + REFRESH_GRACE,
    };
    assert!(store::rotate(&mut prolonging, &rotation).await.unwrap().is_some());
    let ending = tokio::spawn({
        let (sessions, first) = (world.sessions.clone(), first.clone());
        async move { sessions.end(&first).await }
    });
    world.db.until_blocked().await;
    prolonging.commit().await.unwrap();
    ending.await.unwrap().unwrap();
    assert_eq!(seed::refresh_tokens(&world.db.pool(), world.account).await, 0);
    assert_eq!(world.rotate(&rotation.next.id).await, None);
}

/// Prolongs a session over and over on one replica while another ends all.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_survives_the_end_of_all_sessions() {
    let world = world().await;
    let elsewhere = Sessions::new(world.db.other_pool(), world.clock.clone());
    for _ in 0..20 {
        let mut id = world.start().await;
        let (started, was_started) = tokio::sync::oneshot::channel();
        let rotating = async {
            let mut started = Some(started);
            while let Some(rotated) = elsewhere.rotate(world.account, &id).await.unwrap() {
                id = rotated.token.id;
                if let Some(started) = started.take() {
                    started.send(()).unwrap();
                }
            }
        };
        let ending = async {
            was_started.await.unwrap();
            let mut conn = world.db.pool().acquire().await.unwrap();
            let mut transaction = conn.begin().await.unwrap();
            assert!(crate::account::lock_account(&mut transaction, world.account).await.unwrap());
            end_all(&mut transaction, world.account).await.unwrap();
            transaction.commit().await.unwrap();
        };
        tokio::join!(rotating, ending);
        assert_eq!(seed::refresh_tokens(&world.db.pool(), world.account).await, 0);
    }
}
