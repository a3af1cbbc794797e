//! All SQL of reports.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{NewReport, ReportSubject};

/// Stores a report and gives its number.
pub(super) async fn insert(
    conn: &mut PgConnection,
    report: &NewReport,
    created_at: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let (did, uri, cid) = match &report.subject {
        ReportSubject::Account(did) => (did, None, None),
        ReportSubject::Record { did, uri, cid } => (did, Some(uri.as_str()), Some(cid.to_string())),
    };
    sqlx::query_scalar!(
        r#"
            INSERT INTO report (
                reported_by, reason_type, reason, subject_did, subject_uri, subject_cid, mod_tool, created_at
            )
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            RETURNING id
        "#,
        report.reported_by.as_str(),
        report.reason_type,
        report.reason,
        did.as_str(),
        uri,
        cid,
        report.mod_tool,
        created_at,
    )
    .fetch_one(conn)
    .await
}
