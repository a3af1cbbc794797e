//! Counting in Redis: one script call for a request, whatever number of limits it falls under.

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, Script};

use super::window::{Charge, Outcome, Window};

/// The script, which says itself what it does.
#[derive(Debug)]
pub(super) struct ChargeScript(Script);

impl ChargeScript {
    pub(super) fn new() -> Self {
        Self(Script::new(include_str!("script.lua")))
    }

    /// Charges a request. One round trip, unless the server has forgotten the script, as a new one has.
    pub(super) async fn run(
        &self,
        connection: &mut impl ConnectionLike,
        charges: &[Charge],
    ) -> Result<Outcome, RedisError> {
        let mut call = self.0.prepare_invoke();
        for charge in charges {
            call.key(&charge.key).arg(charge.points).arg(charge.length_ms).arg(charge.cost);
        }
        let reply: Vec<u64> = call.invoke_async(connection).await?;
        read(&reply, charges.len()).ok_or_else(|| (ErrorKind::UnexpectedReturnType, "not what the script gives").into())
    }
}

fn read(reply: &[u64], charges: usize) -> Option<Outcome> {
    let (&[now_ms, admitted], windows) = reply.split_first_chunk()?;
    let (windows, rest) = windows.as_chunks();
    let outcome = Outcome {
        admitted: admitted == 1,
        now_ms,
        windows: windows.iter().map(|&[used, ends_ms]| Window { used, ends_ms }).collect(),
    };
    (rest.is_empty() && outcome.windows.len() == charges).then_some(outcome)
}
