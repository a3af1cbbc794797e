//! Writes.

use anyhow::Result;

use crate::measure::Writes;
use crate::row::Row;
use crate::session::{Account, Session};

/// Writers of the scenario in which everybody writes into a repository of their own.
pub(super) const WRITERS: usize = 32;
/// Writers of one repository; and of batches.
const FEW_WRITERS: usize = 4;
/// Records of a batch.
const BATCH: usize = 100;

/// Many writers, many repositories.
pub(super) async fn create_record(session: &mut Session) -> Result<Row> {
    let accounts = session.accounts(WRITERS).await?.to_vec();
    let workers = accounts.iter().map(|account| writer(session, account)).collect::<Result<Vec<_>>>()?;
    Ok(session.measure(workers).await?.without_bytes())
}

/// Few writers, one repository: commits of one repository can only follow each other.
pub(super) async fn hot_repo(session: &mut Session) -> Result<Row> {
    let account = session.accounts(1).await?[0].clone();
    let workers = (0..FEW_WRITERS).map(|_| writer(session, &account)).collect::<Result<Vec<_>>>()?;
    Ok(session.measure(workers).await?.without_bytes())
}

/// Batches of many records.
pub(super) async fn apply_writes(session: &mut Session) -> Result<Row> {
    let accounts = session.accounts(FEW_WRITERS).await?.to_vec();
    let batches = accounts.iter().map(|account| {
        let connection = session.connection()?;
        Ok(Writes::new(connection, vec![account.clone()], Some(BATCH)))
    });
    Ok(session.measure(batches.collect::<Result<Vec<_>>>()?).await?.without_bytes())
}

fn writer(session: &Session, account: &Account) -> Result<Writes> {
    Ok(Writes::new(session.connection()?, vec![account.clone()], None))
}
