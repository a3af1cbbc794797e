//! Reads of records and sessions.

use anyhow::{Context as _, Result};
use rand::seq::SliceRandom as _;

use crate::connection::Call;
use crate::post::COLLECTION;
use crate::row::Row;
use crate::session::Session;

/// Connections that read at once.
const READERS: usize = 16;
/// Records of a page.
const PAGE: usize = 50;
/// Records of the repository of an ordinary user.
const RECORDS: usize = 2300;
/// The same, to see only that it works.
const QUICK_RECORDS: usize = 200;

/// Records of the repository that is read.
pub(super) fn ordinary_size(session: &Session) -> usize {
    if session.scale.quick { QUICK_RECORDS } else { RECORDS }
}

/// Single records of one repository, in random order.
pub(super) async fn get_record(session: &mut Session) -> Result<Row> {
    let account = session.filled(ordinary_size(session)).await?;
    let mut calls = record_keys(session, &account.did)
        .await?
        .iter()
        .map(|rkey| {
            let parameters = format!("repo={}&collection={COLLECTION}&rkey={rkey}", account.did);
            Call::query(&format!("com.atproto.repo.getRecord?{parameters}"))
        })
        .collect::<Result<Vec<_>>>()?;
    calls.shuffle(&mut rand::rng());
    Ok(session.measure_calls(READERS, &calls).await?.without_bytes())
}

/// The pages of one repository.
pub(super) async fn list_records(session: &mut Session) -> Result<Row> {
    let account = session.filled(ordinary_size(session)).await?;
    let keys = record_keys(session, &account.did).await?;
    let first = page(&account.did, PAGE, None);
    let others = keys.chunks(PAGE).filter_map(<[String]>::last).map(|last| page(&account.did, PAGE, Some(last)));
    // What follows the last record is an empty page.
    let pages = std::iter::once(first).chain(others).take(keys.len() / PAGE);
    let calls = pages.map(|page| Call::query(&page)).collect::<Result<Vec<_>>>()?;
    Ok(session.measure_calls(READERS, &calls).await?.without_bytes())
}

/// The session of each of many users.
pub(super) async fn get_session(session: &mut Session) -> Result<Row> {
    let accounts = session.accounts(READERS).await?;
    let call = Call::query("com.atproto.server.getSession")?;
    let calls: Vec<Call> = accounts.iter().map(|account| call.clone().signed_in(&account.token)).collect();
    Ok(session.measure_calls(READERS, &calls).await?.without_bytes())
}

/// The keys of the records of a repository, the newest first.
async fn record_keys(session: &Session, did: &str) -> Result<Vec<String>> {
    let mut connection = session.connection()?;
    let mut keys = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let answer = connection.ask(&Call::query(&page(did, 100, cursor.as_deref()))?).await?;
        let records = answer["records"].as_array().context("the answer has no records")?;
        for record in records {
            let uri = record["uri"].as_str().context("a record has no uri")?;
            keys.push(uri.rsplit('/').next().unwrap_or_default().to_owned());
        }
        cursor = answer["cursor"].as_str().map(str::to_owned);
        if records.is_empty() || cursor.is_none() {
            return Ok(keys);
        }
    }
}

fn page(did: &str, limit: usize, cursor: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    format!("com.atproto.repo.listRecords?repo={did}&collection={COLLECTION}&limit={limit}{cursor}")
}
