//! Codes and sessions that have ended by themselves, and from where sessions were opened long ago.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Nothing is wrong with them but the room they take.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "expired_tokens",
    period: Duration::from_mins(30),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Safe to run twice.
async fn run(context: Context) -> anyhow::Result<Report> {
    let codes = context.accounts.delete_expired_codes().await?;
    let tokens = context.sessions.delete_expired().await?;
    let addresses = context.sessions.forget_addresses().await?;
    let text = format!("forgot {codes} codes, {tokens} refresh tokens, and {addresses} addresses of sign-ins");
    Ok(Report { text, is_news: false })
}
