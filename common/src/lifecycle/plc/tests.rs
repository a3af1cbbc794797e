//! Announcements against a real database.

use std::time::Duration;

use atproto::event::Event;

use super::{Announcements, store};
use crate::clock::Clock;
use crate::lifecycle::tests::world::{World, request, world};
use crate::testing::seed;

/// Events of a sign-up: identity, account, commit, sync.
const SIGN_UP_EVENTS: usize = 4;

fn announcements(world: &World) -> Announcements {
    Announcements::new(world.db.other_pool(), Clock::system())
}

#[tokio::test]
async fn a_change_whose_replica_died_is_announced_once() {
    let world = world().await;
    let alice = world.replica().create_account(request("alice")).await.unwrap();
    store::insert_submission(&mut world.db.pool().acquire().await.unwrap(), alice.id).await.unwrap();
    let workers = [announcements(&world), announcements(&world)];
    assert_eq!(workers[0].announce_overdue().await.unwrap(), 0, "its replica may be at it still");

    seed::age_plc_submissions(&world.db.pool(), Duration::from_mins(3)).await;
    let [one, other] = &workers;
    let (one, other) = tokio::join!(one.announce_overdue(), other.announce_overdue());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    let events = world.events().await;
    assert_eq!(events.len(), SIGN_UP_EVENTS + 1);
    let Some(Event::Identity(event)) = events.last() else { panic!("{events:?}") };
    assert_eq!((&event.did, &event.handle), (&alice.did, &None));
}

#[tokio::test]
async fn a_change_that_cannot_be_announced_holds_up_no_other() {
    let world = world().await;
    let (pool, replica) = (world.db.pool(), world.replica());
    // Without a repo, as of an account that is half gone.
    let damaged = seed::account(&pool, "damaged.test").await;
    let alice = replica.create_account(request("alice")).await.unwrap();
    for account in [damaged, alice.id, damaged] {
        store::insert_submission(&mut pool.acquire().await.unwrap(), account).await.unwrap();
    }
    seed::age_plc_submissions(&pool, Duration::from_mins(3)).await;
    assert_eq!(announcements(&world).announce_overdue().await.unwrap(), 1);
    assert_eq!(world.events().await.len(), SIGN_UP_EVENTS + 1);
    assert_eq!(announcements(&world).announce_overdue().await.unwrap(), 0);
}

#[tokio::test]
async fn an_account_is_announced_when_an_operator_asks() {
    let world = world().await;
    let replica = world.replica();
    let alice = replica.create_account(request("alice")).await.unwrap();
    let account = replica.0.services.accounts.find_principal(&alice.did).await.unwrap().unwrap();
    assert_eq!(announcements(&world).announce(&account, None).await.unwrap(), Some(5));
    let gone = crate::account::Principal { id: crate::db::AccountId::new(0), ..account };
    assert_eq!(announcements(&world).announce(&gone, None).await.unwrap(), None);
}
