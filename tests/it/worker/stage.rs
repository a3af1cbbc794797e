//! An account, and somebody who writes to it.

use std::time::Duration;

use common::account::SendModerationMail;
use common::jobs::{Filter, Jobs, Letter};
use tempfile::TempDir;
use tests::stack::{MailCatcher, Manners, Received, Server};
use tokio::time::timeout;

use crate::harness::account::Account;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::operator::Operator;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_mins(1);

/// A server with an account, and an operator whose settings name a mail server.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) alice: Account,
    pub(super) operator: Operator,
    pub(super) jobs: Jobs,
    pub(super) folder: TempDir,
}

impl Stage {
    /// Before any worker runs. Mails go to `url`.
    pub(super) async fn new(url: &str) -> Self {
        let cluster = Cluster::start(Replicas(2)).await.unwrap();
        let alice = cluster.create_account("alice.test").await.unwrap();
        let operator = Operator::of(&cluster).unwrap();
        let operator = operator
            .with("PDS_EMAIL_SMTP_URL", url)
            .with("PDS_EMAIL_FROM_ADDRESS", "pds@mail.test")
            .with("LOG_ENABLED", "true");
        let jobs = Jobs::new(cluster.db().pool());
        Self { cluster, alice, operator, jobs, folder: TempDir::new().unwrap() }
    }

    /// As [`Stage::new`], with a mail server of such manners.
    pub(super) async fn with_mail(manners: Manners) -> (Self, MailCatcher) {
        let mails = tempfile::tempdir().unwrap().keep();
        let catcher = MailCatcher::start_with(&mails, manners).await.unwrap();
        (Self::new(&catcher.url()).await, catcher)
    }

    /// Has a mail with this subject sent to the account.
    pub(super) async fn write(&self, subject: &str) {
        let content = format!("<p>{subject}</p>");
        let mail = SendModerationMail::new(self.alice.did.clone(), Some(subject.to_owned()), content);
        self.jobs.enqueue(&mail).await.unwrap();
    }

    pub(super) async fn worker(&self, name: &str) -> Server {
        self.operator.start_worker(name, self.folder.path()).await.unwrap()
    }

    /// The jobs, once they are as wanted.
    pub(super) async fn letters(&self, wanted: impl Fn(&[Letter]) -> bool) -> Vec<Letter> {
        let look = async {
            loop {
                let letters = self.jobs.list_jobs(Filter::default(), 0, 100).await.unwrap();
                if wanted(&letters) {
                    return letters;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, look).await.expect("in time")
    }
}

/// All mails, once there are so many.
pub(super) async fn until(catcher: &MailCatcher, count: usize) -> Vec<Received> {
    timeout(LIMIT, catcher.until(count)).await.expect("in time").unwrap()
}
