//! What methods keep when their requests reach different replicas.

mod account_lifecycle;
mod admin;
mod admin_methods;
mod blobs;
mod identity;
mod moderation;
mod pictures;
mod plc_operations;
mod preferences;
mod repo_imports;
mod repo_races;
mod repo_round_robin;
mod rotation_key;
mod secrets;
mod server_accounts;
mod server_sessions;
mod sync_archives;
mod sync_lists;
