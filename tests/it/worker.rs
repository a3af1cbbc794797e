//! Workers as processes: what becomes of jobs and mails while workers and mail servers come and go.

mod announcements;
mod codes;
mod jobs;
mod mail;
mod mail_test;
mod relays;
mod stage;
