//! What operators and moderators do to accounts, from whichever side: the methods of `com.atproto.admin` and the commands of
//! `pds-worker` come through here. Each act is what the subject's own module does, with its entry in the audit log.
//!
//! Owns no table. Acts on records, blobs and invitations are in their own modules, which note them in the same
//! transaction.

mod account;
mod contact;
mod identity;

use tokio_util::task::TaskTracker;

use crate::account::Accounts;
use crate::audit::AuditLog;
use crate::db::PgPool;
use crate::lifecycle::{Lifecycle, Services};

pub use contact::{Message, MessageError};

/// The acts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Administration {
    pool: PgPool,
    audit: AuditLog,
    accounts: Accounts,
    lifecycle: Lifecycle,
    tasks: TaskTracker,
}

impl Administration {
    /// Acts on the accounts of `services`, which `lifecycle` works with too.
    pub fn new(services: &Services, lifecycle: Lifecycle) -> Self {
        Self {
            pool: services.pool.clone(),
            audit: AuditLog::new(services.pool.clone()),
            accounts: services.accounts.clone(),
            lifecycle,
            tasks: services.tasks.clone(),
        }
    }

    /// What is noted of an act.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }
}
