//! Rows that a test starts from, without the workflows that make them in earnest.

use std::time::Duration;

use atproto::crypto::{PublicKey, SigningKey};
use atproto::data::Cid;
use atproto::event::{AccountStatus, Event};
use atproto::syntax::Did;
use sqlx::PgConnection;

use crate::account::PasswordHash;
use crate::clock::Clock;
use crate::db::{AccountId, PgPool};
use crate::keys::{KeyVault, SealedKey, SealingKey};
use crate::repo::Genesis;

/// The DID of the account that [`account`] makes for this handle.
pub fn did_of(handle: &str) -> String {
    let name: String = handle.bytes().filter(u8::is_ascii_lowercase).map(char::from).collect();
    format!("did:plc:{name:a<24.24}")
}

/// Makes an active account without password, key and repo; its e-mail address is the handle's front part at `mail.test`.
///
/// # Panics
/// If Postgres refuses.
pub async fn account(pool: &PgPool, handle: &str) -> AccountId {
    let name = handle.split('.').next().unwrap_or_default();
    let query = sqlx::query_scalar!(
        r#"INSERT INTO account (did, handle, email) VALUES ($1, $2, $3) RETURNING id AS "id: AccountId""#,
        did_of(handle),
        handle,
        format!("{name}@mail.test"),
    );
    query.fetch_one(pool).await.expect("an account")
}

/// Notes that an account changes its DID, as a replica does before it asks the directory.
///
/// # Panics
/// If Postgres refuses.
pub async fn plc_submission(pool: &PgPool, account: AccountId) {
    let query = sqlx::query!("INSERT INTO plc_submission (account_id) VALUES ($1)", account.get());
    query.execute(pool).await.expect("a note");
}

/// Makes every change of a DID that is on its way so much older.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_plc_submissions(pool: &PgPool, by: Duration) {
    let query =
        sqlx::query!("UPDATE plc_submission SET created_at = created_at - make_interval(secs => $1)", by.as_secs_f64());
    query.execute(pool).await.expect("an update");
}

/// Gives an account another DID, as if it had moved here with it.
///
/// # Panics
/// If Postgres refuses.
pub async fn set_did(pool: &PgPool, before: &Did, did: &Did) {
    let query = sqlx::query!("UPDATE account SET did = $2 WHERE did = $1", before.as_str(), did.as_str());
    query.execute(pool).await.expect("an update");
}

/// Marks an account as deactivated, or clears the mark.
///
/// # Panics
/// If Postgres refuses.
pub async fn set_deactivated(pool: &PgPool, did: &str, deactivated: bool) {
    let query = sqlx::query!(
        "UPDATE account SET deactivated_at = CASE WHEN $2 THEN clock_timestamp() END WHERE did = $1",
        did,
        deactivated,
    );
    query.execute(pool).await.expect("an update");
}

/// Marks an account as taken down, or clears the mark.
///
/// # Panics
/// If Postgres refuses.
pub async fn set_taken_down(pool: &PgPool, did: &str, taken_down: bool) {
    let query =
        sqlx::query!("UPDATE account SET takedown_ref = CASE WHEN $2 THEN 'test' END WHERE did = $1", did, taken_down,);
    query.execute(pool).await.expect("an update");
}

/// Changes what an account may do and tells it to the log as `event`, in the order of locks that is asked of whoever does
/// that: its repo first.
///
/// # Panics
/// If Postgres refuses.
pub async fn change_status(pool: &PgPool, account: AccountId, event: &Event, status: AccountStatus) {
    let mut conn = pool.acquire().await.expect("a connection");
    let mut transaction = conn.begin().await.expect("a transaction");
    let query = sqlx::query!("SELECT FROM repo WHERE account_id = $1 FOR UPDATE", account.get());
    query.execute(&mut *transaction).await.expect("a lock");
    let query = sqlx::query!(
        r#"
            UPDATE account
            SET deactivated_at = CASE WHEN $2 THEN clock_timestamp() END, takedown_ref = CASE WHEN $3 THEN 'test' END
            WHERE id = $1
        "#,
        account.get(),
        status == AccountStatus::Deactivated,
        status == AccountStatus::Takendown,
    );
    query.execute(&mut *transaction).await.expect("an update");
    let query = sqlx::query_scalar!(
        r#"SELECT event_append_v1($1, $2, $3) AS "last!""#,
        &[account.get()],
        &[event.kind().name()] as _,
        &[event.encode()] as _,
    );
    query.fetch_one(&mut *transaction).await.expect("a seq");
    transaction.commit().await.expect("a commit");
}

/// Makes an invitation code of the operator's.
///
/// # Panics
/// If Postgres refuses.
pub async fn invite_code(pool: &PgPool, code: &str, uses: i32) {
    let query = sqlx::query!(
        "INSERT INTO invite_code (code, available_uses, for_account, created_by) VALUES ($1, $2, 'admin', 'admin')",
        code,
        uses,
    );
    query.execute(pool).await.expect("an invitation code");
}

/// How many refresh tokens are stored for an account.
///
/// # Panics
/// If Postgres refuses.
pub async fn refresh_tokens(pool: &PgPool, account: AccountId) -> i64 {
    let query =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM refresh_token WHERE account_id = $1"#, account.get(),);
    query.fetch_one(pool).await.expect("a count")
}

/// Removes an account's e-mail address, as if an entryway kept it.
///
/// # Panics
/// If Postgres refuses.
pub async fn remove_email(pool: &PgPool, did: &str) {
    sqlx::query!("UPDATE account SET email = NULL WHERE did = $1", did).execute(pool).await.expect("an update");
}

/// Removes an account's main password.
///
/// # Panics
/// If Postgres refuses.
pub async fn remove_password(pool: &PgPool, did: &str) {
    sqlx::query!("UPDATE account SET password_hash = NULL WHERE did = $1", did).execute(pool).await.expect("an update");
}

/// What is stored of an account's main password.
///
/// # Panics
/// If there is none.
pub async fn password_hash(pool: &PgPool, account: AccountId) -> String {
    let query = sqlx::query_scalar!(r#"SELECT password_hash AS "hash!" FROM account WHERE id = $1"#, account.get());
    query.fetch_one(pool).await.expect("a hash")
}

/// Gives an account an app password that nobody knows.
///
/// # Panics
/// If Postgres refuses.
pub async fn app_password(pool: &PgPool, account: AccountId, name: &str, privileged: bool) {
    let query = sqlx::query!(
        "INSERT INTO app_password (account_id, name, digest, privileged) VALUES ($1, $2, '', $3)",
        account.get(),
        name,
        privileged,
    );
    query.execute(pool).await.expect("an app password");
}

/// Gives an account an app password as the reference server stores it.
///
/// # Panics
/// If Postgres refuses.
pub async fn app_password_of_reference(pool: &PgPool, account: AccountId, name: &str, hash: &str) {
    let query = sqlx::query!(
        "INSERT INTO app_password (account_id, name, scrypt_hash, privileged) VALUES ($1, $2, $3, false)",
        account.get(),
        name,
        hash,
    );
    query.execute(pool).await.expect("an app password");
}

/// True if an account has app passwords that are stored as the reference server does.
///
/// # Panics
/// If Postgres refuses.
pub async fn has_reference_hashes(pool: &PgPool, account: AccountId) -> bool {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM app_password WHERE account_id = $1 AND scrypt_hash IS NOT NULL) AS "has!""#,
        account.get(),
    );
    query.fetch_one(pool).await.expect("an answer")
}

/// Makes every code that was sent by e-mail so much older.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_codes(pool: &PgPool, by: Duration) {
    let query =
        sqlx::query!("UPDATE email_token SET expires_at = expires_at - make_interval(secs => $1)", by.as_secs_f64());
    query.execute(pool).await.expect("an update");
}

/// Stores a sealed signing key for an account that has none.
///
/// # Panics
/// If Postgres refuses.
pub async fn signing_key(pool: &PgPool, account: AccountId, sealed: &SealedKey) {
    let query = sqlx::query!(
        "INSERT INTO signing_key (account_id, public_key, kek_id, sealed) VALUES ($1, 'did:key:test', $2, $3)",
        account.get(),
        sealed.key_id.as_str(),
        sealed.bytes,
    );
    query.execute(pool).await.expect("a signing key");
}

/// Sets an account's main password.
///
/// # Panics
/// If Postgres refuses.
pub async fn set_password(pool: &PgPool, account: AccountId, hash: &PasswordHash) {
    let query = sqlx::query!("UPDATE account SET password_hash = $2 WHERE id = $1", account.get(), hash.as_str());
    query.execute(pool).await.expect("an update");
}

/// Uses an invitation code up by one.
///
/// # Panics
/// If Postgres refuses.
pub async fn use_invite(pool: &PgPool, code: &str, by: AccountId) {
    let query = sqlx::query!("INSERT INTO invite_code_use (code, used_by) VALUES ($1, $2)", code, by.get());
    query.execute(pool).await.expect("a use");
}

/// Disables an invitation code.
///
/// # Panics
/// If Postgres refuses.
pub async fn disable_invite(pool: &PgPool, code: &str) {
    let query = sqlx::query!("UPDATE invite_code SET disabled = true WHERE code = $1", code);
    query.execute(pool).await.expect("an update");
}

/// Makes an invitation code belong to an account.
///
/// # Panics
/// If Postgres refuses.
pub async fn give_invite(pool: &PgPool, code: &str, did: &str) {
    let query = sqlx::query!("UPDATE invite_code SET for_account = $2 WHERE code = $1", code, did);
    query.execute(pool).await.expect("an update");
}

/// The block of the newest commit of an account's repo.
///
/// # Panics
/// If there is no repo.
pub async fn repo_head(pool: &PgPool, account: AccountId) -> Vec<u8> {
    let query = sqlx::query_scalar!("SELECT commit_block FROM repo WHERE account_id = $1", account.get());
    query.fetch_one(pool).await.expect("a repo")
}

/// Loses a record that the tree of its repo names.
///
/// # Panics
/// If Postgres refuses.
pub async fn lose_record(pool: &PgPool, did: &str, collection: &str, rkey: &str) {
    let query = sqlx::query!(
        r#"
            DELETE FROM record
            WHERE account_id = (SELECT id FROM account WHERE did = $1) AND collection = $2 AND rkey = $3
        "#,
        did,
        collection,
        rkey,
    );
    query.execute(pool).await.expect("a deletion");
}

/// Hides a record as a moderator would.
///
/// # Panics
/// If Postgres refuses.
pub async fn take_record_down(pool: &PgPool, did: &str, collection: &str, rkey: &str) {
    let query = sqlx::query!(
        r#"
            UPDATE record
            SET takedown_ref = 'test'
            WHERE account_id = (SELECT id FROM account WHERE did = $1) AND collection = $2 AND rkey = $3
        "#,
        did,
        collection,
        rkey,
    );
    query.execute(pool).await.expect("an update");
}

/// Deletes the row of an account, and with it what hangs on it.
///
/// # Panics
/// If Postgres refuses.
pub async fn delete_account(pool: &PgPool, did: &str) {
    sqlx::query!("DELETE FROM account WHERE did = $1", did).execute(pool).await.expect("a deletion");
}

/// An account that can write.
#[derive(Clone, Debug)]
pub struct SeededRepo {
    /// Its number.
    pub account: AccountId,
    /// Its DID.
    pub did: Did,
    /// What its commits are signed with.
    pub public_key: PublicKey,
}

/// What opens the keys that [`repo`] makes.
pub fn vault() -> KeyVault {
    KeyVault::new(SealingKey::new(&[1; 32]))
}

/// Makes an active account with a signing key and an empty repo, through the statement that sign-up ends with.
///
/// # Panics
/// If Postgres refuses.
pub async fn repo(pool: &PgPool, handle: &str) -> SeededRepo {
    let did: Did = did_of(handle).parse().expect("a DID");
    let key = SigningKey::generate(&mut rand::rng());
    let genesis = Genesis::new(&did, &key, Clock::system().now()).expect("a first commit");
    let sealed = vault().seal(&did, &key).expect("a sealed key");
    let kinds: Vec<&str> = genesis.events.iter().map(|event| event.kind().name()).collect();
    let bodies: Vec<Vec<u8>> = genesis.events.iter().map(Event::encode).collect();
    let query = sqlx::query_scalar!(
        r#"
            SELECT account_create_v1(
                $1, $2, $3, NULL, NULL, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
            ) AS "id!: AccountId"
        "#,
        did.as_str(),
        handle,
        format!("{handle}@mail.test"),
        key.public_key().to_string(),
        sealed.key_id.as_str(),
        sealed.bytes,
        genesis.head.as_bytes().as_slice(),
        genesis.rev.to_string(),
        genesis.root.as_bytes().as_slice(),
        &*genesis.commit_block,
        &*genesis.root_block,
        &kinds as _,
        &bodies,
        did.as_str(),
        Clock::system().now() + Duration::from_hours(1),
    );
    let account = query.fetch_one(pool).await.expect("an account with a repo");
    SeededRepo { account, did, public_key: key.public_key() }
}

/// Stores an uploaded blob of an account: its row, not its bytes. Gives its CID.
///
/// # Panics
/// If Postgres refuses.
pub async fn blob(pool: &PgPool, did: &str, bytes: &[u8]) -> Cid {
    let cid = Cid::raw(bytes);
    let query = sqlx::query!(
        r#"
            INSERT INTO blob (account_id, cid, mime_type, size, state)
            SELECT id, $2, 'image/png', $3, 'temporary' FROM account WHERE did = $1
        "#,
        did,
        cid.as_bytes().as_slice(),
        i64::try_from(bytes.len()).expect("a small blob"),
    );
    query.execute(pool).await.expect("a blob");
    cid
}

/// Hides a blob of all accounts that have it, as a moderator would.
///
/// # Panics
/// If Postgres refuses.
pub async fn take_blob_down(pool: &PgPool, cid: Cid) {
    let query = sqlx::query!("UPDATE blob SET takedown_ref = 'test' WHERE cid = $1", cid.as_bytes().as_slice());
    query.execute(pool).await.expect("an update");
}

/// Makes all that is noted of blobs so much older, and the jobs that wait for their time.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_blobs(pool: &PgPool, by: Duration) {
    let seconds = by.as_secs_f64();
    let query = sqlx::query!(
        r#"
            UPDATE blob
            SET created_at = created_at - make_interval(secs => $1), delete_after = delete_after - make_interval(secs => $1)
        "#,
        seconds,
    );
    query.execute(pool).await.expect("an update");
    let query =
        sqlx::query!("UPDATE blob_dereference SET created_at = created_at - make_interval(secs => $1)", seconds);
    query.execute(pool).await.expect("an update");
    let query = sqlx::query!(
        r#"
            UPDATE blob_deletion
            SET created_at = created_at - make_interval(secs => $1), deleted_at = deleted_at - make_interval(secs => $1)
        "#,
        seconds,
    );
    query.execute(pool).await.expect("an update");
    let query =
        sqlx::query!("UPDATE blob_reservation SET created_at = created_at - make_interval(secs => $1)", seconds);
    query.execute(pool).await.expect("an update");
    let query = sqlx::query!("UPDATE job SET run_at = run_at - make_interval(secs => $1)", seconds);
    query.execute(pool).await.expect("an update");
}

/// How many blobs are being deleted.
///
/// # Panics
/// If Postgres refuses.
pub async fn blob_deletions(pool: &PgPool) -> i64 {
    let query = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM blob_deletion"#);
    query.fetch_one(pool).await.expect("a count")
}

/// Holds the rows of a blob as a commit that refers to it does.
///
/// # Panics
/// If Postgres refuses.
pub async fn lock_blob(conn: &mut PgConnection, cid: Cid) {
    let query = sqlx::query!("SELECT FROM blob WHERE cid = $1 FOR SHARE", cid.as_bytes().as_slice());
    query.execute(conn).await.expect("a lock");
}

/// Loses a blob that records may refer to.
///
/// # Panics
/// If Postgres refuses.
pub async fn lose_blob(pool: &PgPool, did: &str, cid: Cid) {
    let query = sqlx::query!(
        "DELETE FROM blob WHERE account_id = (SELECT id FROM account WHERE did = $1) AND cid = $2",
        did,
        cid.as_bytes().as_slice(),
    );
    query.execute(pool).await.expect("a deletion");
}
