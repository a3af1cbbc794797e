//! Whether a write costs the same in a large repository as in a small one, and on a server with many accounts as on one
//! with few.

use anyhow::Result;
use futures_util::future::try_join_all;

use super::write::{self, WRITERS};
use crate::measure::Writes;
use crate::row::Row;
use crate::session::Session;

/// Writers into repositories of a certain size.
const FEW_WRITERS: usize = 4;
/// Records in a repository before the writes.
const RECORDS: [usize; 3] = [1, 1000, 100_000];
const QUICK_RECORDS: [usize; 2] = [1, 100];
/// Accounts on the server.
const ACCOUNTS: [u32; 2] = [100, 100_000];
const QUICK_ACCOUNTS: [u32; 2] = [100, 200];
/// Repositories that share the writes where they must stay small.
const SMALL_REPOS: usize = 32;
const SMALL: usize = 100;
/// Copies accounts, until there are `:accounts`.
const COPY_ACCOUNTS: &str = include_str!("growth.sql");

/// Single writes into repositories of different sizes.
pub(super) async fn records(session: &mut Session) -> Result<Vec<Row>> {
    let sizes = if session.scale.quick { &QUICK_RECORDS[..] } else { &RECORDS[..] };
    let mut rows = Vec::new();
    for size in sizes {
        // The measured writes are many: on few repositories they would be small no more.
        let repos = if *size < SMALL { SMALL_REPOS } else { FEW_WRITERS };
        let accounts = session.new_accounts(repos).await?;
        try_join_all(accounts.iter().map(|account| session.fill(account, *size))).await?;
        let writers = accounts.chunks(repos / FEW_WRITERS).map(|accounts| {
            let connection = session.connection()?;
            Ok(Writes::new(connection, accounts.to_vec(), None))
        });
        let row = session.measure(writers.collect::<Result<Vec<_>>>()?).await?;
        rows.push(row.without_bytes().named(format!("growth-{size}-records")));
    }
    Ok(with_growth(rows))
}

/// Single writes of many users on servers with different numbers of accounts.
pub(super) async fn accounts(session: &mut Session) -> Result<Vec<Row>> {
    if !session.target.has_database() {
        return Ok(Vec::new());
    }
    // The users, and one whose repository is empty, to be copied.
    session.accounts(WRITERS).await?;
    session.new_accounts(1).await?;
    let mut rows = Vec::new();
    let counts = if session.scale.quick { QUICK_ACCOUNTS } else { ACCOUNTS };
    for count in counts {
        session.target.run_sql(&COPY_ACCOUNTS.replace(":accounts", &count.to_string())).await?;
        rows.push(write::create_record(session).await?.named(format!("growth-{count}-accounts")));
    }
    Ok(with_growth(rows))
}

/// Says of the last row how many times the cheapest row's CPU time the dearest one took.
fn with_growth(mut rows: Vec<Row>) -> Vec<Row> {
    let cpus = || rows.iter().filter_map(|row| row.cpu);
    let (least, most) = (cpus().reduce(f64::min), cpus().reduce(f64::max));
    let growth = least.zip(most).filter(|(least, _)| *least > 0.0).map(|(least, most)| most / least);
    if let Some(last) = rows.last_mut() {
        last.growth = growth;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_between_the_cheapest_and_the_dearest() {
        let row = |cpu| Row { cpu: Some(cpu), ..Row::default() };
        let rows = with_growth(vec![row(2.0), row(1.0), row(1.5)]);
        assert_eq!(rows.iter().map(|row| row.growth).collect::<Vec<_>>(), [None, None, Some(2.0)]);
    }
}
