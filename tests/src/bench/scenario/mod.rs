//! What is measured.

mod account;
mod backfill;
mod blob;
mod firehose;
mod growth;
mod import;
mod read;
mod sync;
mod write;

use anyhow::Result;
use clap::ValueEnum;

use crate::row::Row;
use crate::session::Session;

/// A kind of work that a server is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Scenario {
    /// New accounts: 4 users sign up at once.
    SignUp,
    /// Sessions by password: 4 users sign in at once.
    Login,
    /// Single writes: 32 writers, each in a repository of its own.
    CreateRecord,
    /// Single writes of 4 writers into one repository.
    HotRepo,
    /// Commits of 100 new records: 4 writers in 4 repositories.
    ApplyWrites,
    /// Single reads of random records.
    GetRecord,
    /// Pages of 50 records.
    ListRecords,
    /// Whole repositories of 2,300 records.
    GetRepo,
    /// A whole repository of 100,000 records.
    GetRepoLarge,
    /// Posts with a picture of 200 kB: 8 users upload and post.
    UploadBlob,
    /// Videos of 100 MB: 10 users upload at once.
    UploadLarge,
    /// Pictures of 200 kB.
    GetBlob,
    /// Who am I.
    GetSession,
    /// Live events: 20 subscribers, 1,000 writes a second, and an idle server.
    Firehose,
    /// All events from the beginning, to one consumer.
    Backfill,
    /// An archive of 128,000 records into a new account.
    Import,
    /// Single writes into repositories of 1, 1,000 and 100,000 records.
    GrowthOfRepo,
    /// Single writes on a server with 100 and with 100,000 accounts; only where Rookery was started for it.
    GrowthOfServer,
}

impl Scenario {
    /// The name on the command line and in the report.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it belongs in a comparison: large repositories take too long to make on some servers, and large uploads
    /// are refused.
    pub(crate) fn is_comparable(self) -> bool {
        !matches!(
            self,
            Self::GetRepoLarge | Self::UploadLarge | Self::Import | Self::GrowthOfRepo | Self::GrowthOfServer
        )
    }

    /// Measures it.
    ///
    /// # Errors
    /// It cannot be prepared. Requests that fail while it is measured are counted in the rows.
    pub(crate) async fn run(self, session: &mut Session) -> Result<Vec<Row>> {
        let name = self.name();
        let row = match self {
            Self::SignUp => account::sign_up(session).await?,
            Self::Login => account::login(session).await?,
            Self::CreateRecord => write::create_record(session).await?,
            Self::HotRepo => write::hot_repo(session).await?,
            Self::ApplyWrites => write::apply_writes(session).await?.counting("commit"),
            Self::GetRecord => read::get_record(session).await?,
            Self::ListRecords => read::list_records(session).await?,
            Self::GetRepo => sync::get_repo(session).await?,
            Self::GetRepoLarge => sync::get_repo_large(session).await?,
            Self::UploadBlob => blob::upload_blob(session).await?.counting("post"),
            Self::UploadLarge => blob::upload_large(session).await?.counting("upload"),
            Self::GetBlob => blob::get_blob(session).await?,
            Self::Firehose => return firehose::live(session).await,
            Self::Import => import::import(session).await?,
            Self::GrowthOfRepo => return growth::records(session).await,
            Self::GrowthOfServer => return growth::accounts(session).await,
            Self::Backfill => backfill::backfill(session).await?,
            Self::GetSession => read::get_session(session).await?,
        };
        Ok(vec![row.named(name)])
    }
}
