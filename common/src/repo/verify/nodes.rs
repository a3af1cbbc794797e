//! The stored nodes against those that should be there.

use sqlx::PgConnection;

use super::scan::{cid_text, is_rev};
use super::store::{self, NodeRow};
use super::tree::{Digest, Tree, digest, node_cid};
use super::{Finding, Findings};
use crate::db::AccountId;
use atproto::data::Cid;

/// The nodes that should be stored.
pub(super) struct Live {
    /// In ascending order, each once.
    digests: Vec<Digest>,
    /// Nodes that may be stored as well, in ascending order.
    spared: Vec<Digest>,
}

impl Live {
    pub(super) fn new(mut digests: Vec<Digest>, mut spared: Vec<Digest>) -> Self {
        digests.sort_unstable();
        digests.dedup();
        spared.sort_unstable();
        Self { digests, spared }
    }

    pub(super) fn all_of(tree: &Tree) -> Self {
        Self::new(tree.digests().to_vec(), Vec::new())
    }
}

/// Goes through the stored nodes, in the order of their CIDs, and gives their number.
pub(super) async fn check(
    conn: &mut PgConnection,
    account: AccountId,
    repo_rev: &str,
    live: Live,
    findings: &mut Findings,
) -> sqlx::Result<u64> {
    let mut count = 0;
    let mut expected = live.digests.iter().peekable();
    let mut after = Vec::new();
    loop {
        let page = store::list_nodes(conn, account, &after).await?;
        let Some(last) = page.last() else { break };
        last.cid.clone_into(&mut after);
        for row in page {
            count += 1;
            let cid = Cid::from_bytes(&row.cid).ok();
            // CIDs of nodes differ in their digests only, so both go in the same order.
            let own = cid.map(|cid| digest(&cid)).filter(|digest| node_cid(digest).as_bytes()[..] == row.cid);
            while let Some(missing) = expected.next_if(|next| own.is_some_and(|own| **next < own)) {
                findings.push(Finding::NodeMissing { cid: node_cid(missing).to_string() });
            }
            let is_live = expected.next_if(|next| own == Some(**next)).is_some();
            let is_spared = own.is_some_and(|own| live.spared.binary_search(&own).is_ok());
            check_node(&row, is_live || is_spared, repo_rev, findings);
        }
    }
    for missing in expected {
        findings.push(Finding::NodeMissing { cid: node_cid(missing).to_string() });
    }
    Ok(count)
}

fn check_node(row: &NodeRow, is_live: bool, repo_rev: &str, findings: &mut Findings) {
    let cid = cid_text(&row.cid);
    if !is_live {
        findings.push(Finding::NodeSurplus { cid });
    } else if !Cid::from_bytes(&row.cid).is_ok_and(|cid| cid.verifies(&row.bytes)) {
        findings.push(Finding::NodeAltered { cid });
    } else if !is_rev(&row.rev, repo_rev) {
        findings.push(Finding::NodeRev { cid, rev: row.rev.clone() });
    }
}
