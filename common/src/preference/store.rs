//! All SQL of preferences.

use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::Preference;
use crate::db::AccountId;

/// The constraint that an account without a row breaks.
pub(super) const ACCOUNT_KEY: &str = "account_preference_account_id_fkey";

/// An account's preferences, in their order.
pub(super) async fn list(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<Preference>> {
    let row = sqlx::query!("SELECT names, contents FROM account_preference WHERE account_id = $1", account.get());
    let Some(row) = row.fetch_optional(conn).await? else { return Ok(Vec::new()) };
    let preferences = row.names.into_iter().zip(row.contents).map(|(name, content)| {
        let content = RawValue::from_string(content).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Preference { name, content })
    });
    preferences.collect()
}

/// Replaces an account's preferences; those named `kept` stay, before the new ones.
///
/// What stays is read from the newest row, under its lock: another call that is not done yet is waited for.
pub(super) async fn replace(
    conn: &mut PgConnection,
    account: AccountId,
    preferences: &[Preference],
    kept: Option<&str>,
) -> sqlx::Result<()> {
    let names: Vec<&str> = preferences.iter().map(|preference| preference.name.as_str()).collect();
    let contents: Vec<&str> = preferences.iter().map(|preference| preference.content.get()).collect();
    sqlx::query!(
        r#"
            INSERT INTO account_preference AS current (account_id, names, contents)
            VALUES ($1, $2, $3)
            ON CONFLICT (account_id) DO UPDATE SET (names, contents, updated_at) = (
                SELECT
                    coalesce(array_agg(old.name ORDER BY old.place), '{}') || excluded.names,
                    coalesce(array_agg(old.content ORDER BY old.place), '{}') || excluded.contents,
                    clock_timestamp()
                FROM unnest(current.names, current.contents) WITH ORDINALITY AS old (name, content, place)
                WHERE old.name = $4
            )
        "#,
        account.get(),
        &names as _,
        &contents as _,
        kept,
    )
    .execute(conn)
    .await?;
    Ok(())
}
