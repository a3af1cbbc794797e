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

/// A sealed key, the name of its row, and whose it is.
#[derive(Debug)]
pub(super) struct Stored<R> {
    pub(super) row: R,
    pub(super) did: Did,
    pub(super) sealed: SealedKey,
}

/// The next keys, by their accounts' numbers.
pub(super) async fn list_sealed(
    conn: &mut PgConnection,
    after: AccountId,
    limit: u16,
) -> sqlx::Result<Vec<Stored<AccountId>>> {
    // Accounts are of a higher rank; but a key is sealed for its account's DID, and cannot be opened without. That they
    // too come after $1 is for a plan that goes through both indexes: it would begin with the first account each time.
    let rows = sqlx::query!(
        r#"
            SELECT k.account_id AS "account: AccountId", a.did AS "did: TextColumn<Did>", k.kek_id, k.sealed
            FROM signing_key k
            JOIN account a ON a.id = k.account_id
            WHERE k.account_id > $1 AND a.id > $1
            ORDER BY k.account_id
            LIMIT $2
        "#,
        after.get(),
        i64::from(limit),
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| Stored {
        row: row.account,
        did: row.did.0,
        sealed: SealedKey { key_id: KeyId::new(&row.kek_id), bytes: row.sealed },
    });
    Ok(rows.collect())
}

/// Keys sealed anew, each with the bytes it had before.
#[derive(Debug)]
pub(super) struct Resealed<R> {
    pub(super) rows: Vec<R>,
    pub(super) before: Vec<Vec<u8>>,
    pub(super) after: Vec<Vec<u8>>,
}

/// Puts the new seals in the place of the old ones, where those are still there; tells how many were.
pub(super) async fn update_sealed(
    conn: &mut PgConnection,
    current: &KeyId,
    keys: &Resealed<AccountId>,
) -> sqlx::Result<u64> {
    let accounts: Vec<i64> = keys.rows.iter().map(|account| account.get()).collect();
    let done = sqlx::query!(
        r#"
            UPDATE signing_key k
            SET kek_id = $1, sealed = n.after
            FROM unnest($2::bigint[], $3::bytea[], $4::bytea[]) AS n (account_id, before, after)
            WHERE k.account_id = n.account_id AND k.sealed = n.before
        "#,
        current.as_str(),
        &accounts,
        &keys.before,
        &keys.after,
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// How many of the next keys each key-encryption key has sealed, and the last one's account; `None` if there are no more.
pub(super) async fn count_sealed(
    conn: &mut PgConnection,
    after: AccountId,
    limit: u16,
) -> sqlx::Result<Option<(AccountId, Vec<(KeyId, i64)>)>> {
    let rows = sqlx::query!(
        r#"
            SELECT kek_id, count(*) AS "keys!", max(account_id) AS "last!: AccountId"
            FROM (SELECT account_id, kek_id FROM signing_key WHERE account_id > $1 ORDER BY account_id LIMIT $2) AS page
            GROUP BY kek_id
        "#,
        after.get(),
        i64::from(limit),
    );
    let rows = rows.fetch_all(conn).await?;
    let last = rows.iter().map(|row| row.last).max();
    Ok(last.map(|last| (last, rows.into_iter().map(|row| (KeyId::new(&row.kek_id), row.keys)).collect())))
}
