//! Relays whose time passes faster.

use std::time::Duration;

use crate::db::PgPool;

/// Lets all that was told to relays, and the starts of workers, be longer ago, and the pauses be over sooner.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_notices(pool: &PgPool, by: Duration) {
    let update = sqlx::query!(
        r#"
            WITH workers AS (
                UPDATE worker_lease SET started_at = started_at - make_interval(secs => $1)
            )
            UPDATE crawl_notice SET
                next_at = next_at - make_interval(secs => $1), told_at = told_at - make_interval(secs => $1),
                claimed_at = claimed_at - make_interval(secs => $1), failed_at = failed_at - make_interval(secs => $1)
        "#,
        by.as_secs_f64(),
    );
    update.execute(pool).await.expect("an update");
}

/// Lets all accounts have been made longer ago.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_accounts(pool: &PgPool, by: Duration) {
    let update =
        sqlx::query!("UPDATE account SET created_at = created_at - make_interval(secs => $1)", by.as_secs_f64());
    update.execute(pool).await.expect("an update");
}
