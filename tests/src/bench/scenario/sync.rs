//! Whole repositories.

use anyhow::Result;

use super::read::ordinary_size;
use crate::connection::Call;
use crate::row::Row;
use crate::session::Session;

/// Repositories that are fetched at once.
const READERS: usize = 4;
/// Records of a large repository.
const MANY_RECORDS: usize = 100_000;
/// The same, to see only that it works.
const QUICK_RECORDS: usize = 1000;

/// A repository of an ordinary user.
pub(super) async fn get_repo(session: &mut Session) -> Result<Row> {
    fetch(session, ordinary_size(session), READERS).await
}

/// A large repository, one at a time.
pub(super) async fn get_repo_large(session: &mut Session) -> Result<Row> {
    fetch(session, if session.scale.quick { QUICK_RECORDS } else { MANY_RECORDS }, 1).await
}

async fn fetch(session: &mut Session, records: usize, readers: usize) -> Result<Row> {
    let account = session.filled(records).await?;
    let call = Call::query(&format!("com.atproto.sync.getRepo?did={}", account.did))?;
    session.measure_calls(readers, &[call]).await
}
