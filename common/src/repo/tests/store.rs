//! The SQL of the tests.

use sqlx::PgPool;

/// Transactions that appended to the log.
pub(super) async fn count_appends(pool: &PgPool) -> i64 {
    let query = sqlx::query_scalar!(r#"SELECT count(DISTINCT xmin::text) AS "count!" FROM repo_event"#);
    query.fetch_one(pool).await.unwrap()
}

/// Makes Postgres refuse every record with the key `refused`.
pub(super) async fn refuse_records(pool: &PgPool) {
    let statement = "ALTER TABLE record ADD CONSTRAINT refused CHECK (rkey <> 'refused')";
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

/// Breaks the connection of whoever writes a record with the key `broken`, for the first so many times.
pub(super) async fn break_connections(pool: &PgPool, times: i32) {
    let statement = r"
        CREATE SEQUENCE breaks;
        CREATE TABLE break_limit (times integer NOT NULL);
        CREATE FUNCTION break_connection() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('breaks') <= (SELECT times FROM break_limit) THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
            END IF;
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER breaks BEFORE INSERT ON record FOR EACH ROW WHEN (NEW.rkey = 'broken')
            EXECUTE FUNCTION break_connection();
    ";
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("INSERT INTO break_limit VALUES ({times})")))
        .execute(pool)
        .await
        .unwrap();
}
