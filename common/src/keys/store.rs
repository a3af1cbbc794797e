//! All SQL of signing keys.

use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::{KeyId, SealedKey};
use crate::db::{AccountId, TextColumn};

pub(super) async fn find(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<SealedKey>> {
    let row = sqlx::query!("SELECT kek_id, sealed FROM signing_key WHERE account_id = $1", account.get())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| SealedKey { key_id: KeyId::new(&row.kek_id), bytes: row.sealed }))
}

pub(super) async fn find_public_key(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<PublicKey>> {
    let key = sqlx::query_scalar!(
        r#"SELECT public_key AS "key: TextColumn<PublicKey>" FROM signing_key WHERE account_id = $1"#,
        account.get(),
    );
    Ok(key.fetch_optional(conn).await?.map(|key| key.0))
}

/// A sealed key and whose it is.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) account: AccountId,
    pub(super) did: Did,
    pub(super) sealed: SealedKey,
}

/// The next keys that something else than `current` sealed, by their accounts' numbers.
///
/// Passes over the others: all calls from the first account to the last together read the table once.
pub(super) async fn list_sealed_otherwise(
    conn: &mut PgConnection,
    current: &KeyId,
    after: AccountId,
    limit: u16,
) -> sqlx::Result<Vec<Stored>> {
    // Accounts are of a higher rank; but a key is sealed for its account's DID, and cannot be opened without.
    let rows = sqlx::query!(
        r#"
            SELECT k.account_id AS "account: AccountId", a.did AS "did: TextColumn<Did>", k.kek_id, k.sealed
            FROM signing_key k
            JOIN account a ON a.id = k.account_id
            WHERE k.account_id > $1 AND k.kek_id <> $2
            ORDER BY k.account_id
            LIMIT $3
        "#,
        after.get(),
        current.as_str(),
        i64::from(limit),
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| Stored {
        account: row.account,
        did: row.did.0,
        sealed: SealedKey { key_id: KeyId::new(&row.kek_id), bytes: row.sealed },
    });
    Ok(rows.collect())
}

/// Keys sealed anew, each with the bytes it had before.
#[derive(Debug, Default)]
pub(super) struct Resealed {
    pub(super) accounts: Vec<i64>,
    pub(super) before: Vec<Vec<u8>>,
    pub(super) after: Vec<Vec<u8>>,
}

/// Puts the new seals in the place of the old ones, where those are still there; tells how many were.
pub(super) async fn update_sealed(conn: &mut PgConnection, current: &KeyId, keys: &Resealed) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
            UPDATE signing_key k
            SET kek_id = $1, sealed = n.after
            FROM unnest($2::bigint[], $3::bytea[], $4::bytea[]) AS n (account_id, before, after)
            WHERE k.account_id = n.account_id AND k.sealed = n.before
        "#,
        current.as_str(),
        &keys.accounts,
        &keys.before,
        &keys.after,
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// How many keys each key-encryption key has sealed.
pub(super) async fn count_by_key(conn: &mut PgConnection) -> sqlx::Result<Vec<(KeyId, i64)>> {
    let rows = sqlx::query!(r#"SELECT kek_id, count(*) AS "keys!" FROM signing_key GROUP BY kek_id ORDER BY kek_id"#);
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| (KeyId::new(&row.kek_id), row.keys)).collect())
}
