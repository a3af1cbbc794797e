//! What becomes of a mail that was not taken.

use crate::mail::Failure;
use crate::runner::JobError;

/// A server that refuses a mail for good will not take it later; all else may be over by then.
pub(super) fn outcome(sent: Result<(), Failure>) -> Result<(), JobError> {
    sent.map_err(|failure| if failure.is_permanent { JobError::give_up(failure) } else { JobError::retry(failure) })
}
