//! Accounts as operators and moderators look them up.

mod store;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};

use super::{Account, Accounts};

/// An account with what only operators and moderators see of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountDetails {
    /// The account.
    pub account: Account,
    /// Whether the codes that it earns are stopped.
    pub invites_disabled: bool,
    /// When it was closed by its owner.
    pub deactivated_at: Option<DateTime<Utc>>,
    /// When it is to be deleted.
    pub delete_after: Option<DateTime<Utc>>,
    /// Why it was closed by a moderator.
    pub takedown_ref: Option<String>,
}

/// Which accounts to look for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Search {
    /// All of them, the oldest first.
    All,
    /// Those whose e-mail address begins with this, by address.
    Email(String),
    /// Those whose e-mail address is at this domain, by address.
    EmailDomain(String),
    /// Those whose handle begins with this, by handle.
    Handle(String),
}

impl Search {
    /// For an e-mail address, as much of its beginning as is known, or `@` and a domain. Letters match in either case.
    pub fn email(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('@') {
            Some(domain) => Self::EmailDomain(domain.to_owned()),
            None => Self::Email(text),
        }
    }

    /// For a handle, or as much of its beginning as is known.
    pub fn handle(text: &str) -> Self {
        Self::Handle(text.to_ascii_lowercase())
    }

    fn text(&self) -> &str {
        match self {
            Self::All => "",
            Self::Email(text) | Self::EmailDomain(text) | Self::Handle(text) => text,
        }
    }
}

/// A page of accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The accounts.
    pub accounts: Vec<AccountDetails>,
    /// Where the next page begins; `None` if there is none.
    pub cursor: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The cursor is none of this search.
    #[error("Malformed cursor")]
    Cursor,
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Accounts {
    /// An account in whatever state, with its details.
    pub async fn find_details(&self, did: &Did) -> sqlx::Result<Option<AccountDetails>> {
        Ok(self.list_details(std::slice::from_ref(did)).await?.pop())
    }

    /// Accounts in whatever state, with their details, in no particular order. Unknown ones are left out.
    pub async fn list_details(&self, dids: &[Did]) -> sqlx::Result<Vec<AccountDetails>> {
        store::list_by_did(&mut *self.pool.acquire().await?, dids).await
    }

    /// A page of the accounts that match, in whatever state.
    pub async fn search(&self, search: &Search, cursor: Option<&str>, limit: u16) -> Result<Found, SearchError> {
        // Text in Postgres has no NUL, so nobody's name does.
        if search.text().contains('\0') || cursor.is_some_and(|cursor| cursor.contains('\0')) {
            return Ok(Found { accounts: Vec::new(), cursor: None });
        }
        let mut conn = self.pool.acquire().await?;
        // One more shows whether there is a next page.
        let more = i64::from(limit) + 1;
        let mut accounts = match search {
            Search::All => {
                let after = cursor.map(str::parse::<Made>).transpose()?;
                store::list_all(&mut conn, after.as_ref().map(|made| (made.at, made.did.as_str())), more).await?
            }
            Search::Email(prefix) => store::list_by_email(&mut conn, prefix, cursor, more).await?,
            Search::EmailDomain(domain) => store::list_by_email_domain(&mut conn, domain, cursor, more).await?,
            Search::Handle(prefix) => store::list_by_handle(&mut conn, prefix, cursor, more).await?,
        };
        let is_full = accounts.len() > usize::from(limit);
        accounts.truncate(usize::from(limit));
        let last = accounts.last().filter(|_| is_full);
        Ok(Found { cursor: last.and_then(|last| search.cursor(&last.account)), accounts })
    }
}

/// Choosing some accounts out of many.
impl Accounts {
    /// How many accounts there are, in whatever state. Reads an index through: 10 ms for 100,000.
    pub async fn count(&self) -> sqlx::Result<u64> {
        let count = store::count(&mut *self.pool.acquire().await?).await?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// At most so many accounts of those made before `before`, in whatever state: one half the newest, the other half at
    /// random. Costs the same however many there are.
    pub async fn sample(&self, count: u16, before: DateTime<Utc>) -> sqlx::Result<Vec<AccountDetails>> {
        let mut conn = self.pool.acquire().await?;
        let newest = i64::from(count.div_ceil(2));
        let mut sample = store::list_newest(&mut conn, before, newest).await?;
        let Some((first, last)) = store::find_bounds(&mut conn).await? else { return Ok(sample) };
        let wanted: Vec<i64> = (0..count / 2).map(|_| rand::random_range(first..=last)).collect();
        let nearest = store::list_nearest(&mut conn, &wanted).await?;
        let known: HashSet<i64> = sample.iter().map(|details| details.account.id.get()).collect();
        let others: Vec<i64> = nearest.into_iter().filter(|id| !known.contains(id)).collect();
        let others = store::list_by_id(&mut conn, &others).await?;
        sample.extend(others.into_iter().filter(|details| details.account.created_at < before));
        Ok(sample)
    }
}

impl Search {
    /// Where the page after this account begins.
    pub fn cursor(&self, last: &Account) -> Option<String> {
        match self {
            Self::All => Some(Made { at: last.created_at, did: last.did.clone() }.to_string()),
            Self::Email(_) | Self::EmailDomain(_) => last.email.as_ref().map(|email| email.to_ascii_lowercase()),
            Self::Handle(_) => last.handle.as_ref().map(|handle| handle.as_str().to_owned()),
        }
    }
}

/// The place of an account among all: `<milliseconds>::<did>`. Accounts are made at whole milliseconds.
struct Made {
    at: DateTime<Utc>,
    did: Did,
}

impl FromStr for Made {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        let parse = || {
            let (millis, did) = text.split_once("::")?;
            let at = DateTime::from_timestamp_millis(millis.parse::<u64>().ok()?.try_into().ok()?)?;
            Some(Self { at, did: did.parse().ok()? })
        };
        parse().ok_or(SearchError::Cursor)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.at.timestamp_millis(), self.did)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::clock::Clock;
    use crate::testing::{TestDb, seed};

    struct Scene {
        db: TestDb,
        accounts: Accounts,
    }

    impl Scene {
        async fn start(names: &[&str]) -> Self {
            let db = TestDb::create().await;
            for name in names {
                seed::account(&db.pool(), &format!("{name}.test")).await;
            }
            Self { accounts: Accounts::new(db.pool()), db }
        }

        /// All pages of a search, by handle.
        async fn search(&self, search: &Search, limit: u16) -> Vec<String> {
            let (mut found, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let page = self.accounts.search(search, cursor.as_deref(), limit).await.unwrap();
                assert!(page.accounts.len() <= usize::from(limit));
                found.extend(page.accounts.iter().map(|found| found.account.shown_handle().to_owned()));
                cursor = page.cursor;
                if cursor.is_none() {
                    return found;
                }
            }
        }
    }

    #[tokio::test]
    async fn searches_find_what_begins_so_page_by_page() {
        let scene = Scene::start(&["alice", "al", "bob", "alicia", "albert"]).await;
        for limit in [1, 2, 3, 10] {
            let mut all = scene.search(&Search::All, limit).await;
            // Those that were made in the same millisecond are in the order of their DIDs.
            all.sort();
            assert_eq!(all, ["al.test", "albert.test", "alice.test", "alicia.test", "bob.test"], "{limit}");
            let al = ["al.test", "albert.test", "alice.test", "alicia.test"];
            for search in [Search::email("AL"), Search::handle("al")] {
                let mut found = scene.search(&search, limit).await;
                // '@' and '.' sort differently from letters; which comes first is not the point.
                found.sort();
                assert_eq!(found, al, "{limit} {search:?}");
            }
            assert_eq!(scene.search(&Search::email("@MAIL.test"), limit).await.len(), 5);
        }
        assert_eq!(scene.search(&Search::email("alice@mail.test"), 10).await, ["alice.test"]);
        assert_eq!(scene.search(&Search::handle("bob.test"), 10).await, ["bob.test"]);
        for nothing in ["@mail.tes", "@ail.test", "%", "a_", "z", "al\0"] {
            assert_eq!(scene.search(&Search::email(nothing), 10).await, Vec::<String>::new(), "{nothing}");
        }
        let malformed = scene.accounts.search(&Search::All, Some("x"), 10).await;
        assert!(matches!(malformed, Err(SearchError::Cursor)));
    }

    #[tokio::test]
    async fn a_sample_has_the_newest_and_some_others_each_once() {
        let names: Vec<String> = ('a'..='e').flat_map(|a| ('a'..='f').map(move |b| format!("{a}{b}"))).collect();
        let scene = Scene::start(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(scene.accounts.count().await.unwrap(), 30);
        let (now, mut seen) = (Clock::system().now() + TimeDelta::minutes(1), HashSet::new());
        for _ in 0..200 {
            let sample = scene.accounts.sample(6, now).await.unwrap();
            let handles: Vec<String> = sample.iter().map(|details| details.account.shown_handle().to_owned()).collect();
            assert_eq!(handles[..3], ["ef.test", "ee.test", "ed.test"]);
            let once: HashSet<&String> = handles.iter().collect();
            assert!(once.len() == handles.len() && handles.len() <= 6, "{handles:?}");
            seen.extend(handles);
        }
        // Each of the 27 others is left out of 600 draws with a probability of one to a thousand millions.
        assert_eq!(seen.len(), 30);
        assert_eq!(scene.accounts.sample(0, now).await.unwrap(), []);
        assert_eq!(scene.accounts.sample(6, DateTime::UNIX_EPOCH).await.unwrap(), []);
        let nobody = Scene::start(&[]).await;
        assert_eq!(nobody.accounts.sample(6, now).await.unwrap(), []);
    }

    #[tokio::test]
    async fn details_are_of_accounts_in_any_state() {
        let scene = Scene::start(&["alice", "bob"]).await;
        let (alice, bob): (Did, Did) =
            (seed::did_of("alice.test").parse().unwrap(), seed::did_of("bob.test").parse().unwrap());
        seed::set_taken_down(&scene.db.pool(), alice.as_str(), true).await;
        seed::set_deactivated(&scene.db.pool(), bob.as_str(), true).await;
        let details = scene.accounts.find_details(&alice).await.unwrap().unwrap();
        assert_eq!((details.takedown_ref.as_deref(), details.deactivated_at), (Some("test"), None));
        let details = scene.accounts.find_details(&bob).await.unwrap().unwrap();
        assert!(details.takedown_ref.is_none() && details.deactivated_at.is_some() && !details.invites_disabled);
        let unknown: Did = "did:plc:unknown".parse().unwrap();
        assert_eq!(scene.accounts.find_details(&unknown).await.unwrap(), None);
        assert_eq!(scene.accounts.list_details(&[alice, unknown, bob]).await.unwrap().len(), 2);
    }
}
