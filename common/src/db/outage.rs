//! Telling "Postgres is away" from "the statement is wrong".

use std::error::Error;
use std::sync::Arc;

/// True if `error`, or one of its causes, says that Postgres cannot be reached or cannot take work now.
///
/// The caller may try again later; nothing is wrong with the request.
pub fn is_outage(error: &(dyn Error + 'static)) -> bool {
    database_errors(error).any(is_away)
}

/// True if `error`, or one of its causes, says that Postgres is at work but did not get to this in time: a statement took
/// longer than it may, waited too long for a lock, or found no memory or disk.
///
/// The caller may try again later here, too. But an answer was given: nothing has happened.
pub fn is_overload(error: &(dyn Error + 'static)) -> bool {
    database_errors(error).any(|error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| is_overload_code(&code))
    })
}

fn database_errors<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e sqlx::Error> {
    std::iter::successors(Some(error), |&error| error.source()).filter_map(|error| {
        // One that several callers share hides in its Arc.
        let shared = error.downcast_ref::<Arc<sqlx::Error>>().map(AsRef::as_ref);
        shared.or_else(|| error.downcast_ref::<sqlx::Error>())
    })
}

/// True if a statement waited for a lock for as long as it may.
///
/// Source: the PostgreSQL manual, appendix A, `lock_not_available`.
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("55P03")
}

fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_away_code(&code)),
        _ => false,
    }
}

/// Connection exceptions, too many connections, read-only after a failover, and a server that starts or stops.
///
/// Source: the PostgreSQL manual, appendix A.
fn is_away_code(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "53300" | "25006" | "57P01" | "57P02" | "57P03" | "57P05")
}

/// A cancelled statement, a lock not to be had, and resources used up.
///
/// Source: the PostgreSQL manual, appendix A.
fn is_overload_code(code: &str) -> bool {
    matches!(code, "57014" | "55P03") || code.starts_with("53")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("repo storage failed")]
    struct Outer(#[source] sqlx::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("repo storage failed")]
    struct Shared(#[source] Arc<sqlx::Error>);

    #[test]
    fn outages_are_found_below_other_errors() {
        assert!(is_outage(&Outer(sqlx::Error::PoolTimedOut)));
        assert!(is_outage(&Shared(Arc::new(sqlx::Error::PoolTimedOut))));
        assert!(!is_outage(&Shared(Arc::new(sqlx::Error::RowNotFound))));
        assert!(is_outage(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())));
        assert!(!is_outage(&Outer(sqlx::Error::RowNotFound)));
        assert!(!is_outage(&std::io::Error::other("no database at all")));
    }

    #[test]
    fn codes_of_a_server_that_is_away() {
        for code in ["08006", "57P01", "57P03", "53300", "25006"] {
            assert!(is_away_code(code), "{code}");
        }
        for code in ["23505", "57014", "40001"] {
            assert!(!is_away_code(code), "{code}");
        }
        for code in ["57014", "55P03", "53200"] {
            assert!(is_overload_code(code), "{code}");
        }
        for code in ["23505", "40001", "57P01"] {
            assert!(!is_overload_code(code), "{code}");
        }
    }
}
