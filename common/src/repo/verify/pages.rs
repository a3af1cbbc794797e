//! Rows of an account in the order of the tree's keys, read a page at a time.

use std::collections::VecDeque;

use sqlx::PgConnection;

use crate::db::AccountId;

/// Rows in a page, at most.
pub(in crate::repo) const PAGE_ROWS: i64 = 500;
/// Bytes of values in a page, give or take a row.
pub(in crate::repo) const PAGE_BYTES: i64 = 4_000_000;

/// A row that belongs to a record path.
pub(in crate::repo) trait Row: Sized {
    /// The key in its collection.
    fn rkey(&self) -> &str;

    /// Bytes of its value, for the bound on a page.
    fn bytes(&self) -> usize;

    /// The collections that have rows, in any order.
    async fn collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>>;

    /// The rows of a collection with keys above `after`, in order: at most [`PAGE_ROWS`], and no more than one beyond
    /// [`PAGE_BYTES`].
    async fn list(
        conn: &mut PgConnection,
        account: AccountId,
        collection: &str,
        after: &str,
    ) -> sqlx::Result<Vec<Self>>;
}

/// Goes through the rows of an account.
pub(in crate::repo) struct Pages<R> {
    account: AccountId,
    /// What is still to come; the first one is being read.
    collections: VecDeque<String>,
    /// The last key read of the first collection; all keys are above the empty one.
    after: String,
    /// There is nothing more of the first collection than what is in the page.
    is_last: bool,
    page: VecDeque<R>,
}

impl<R: Row> Pages<R> {
    /// Starts at the first row.
    pub(in crate::repo) async fn start(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Self> {
        let mut collections = R::collections(conn, account).await?;
        // In the tree a key is compared with its slash, so `a.b-c/x` comes before `a.b/x`.
        collections.sort_by_cached_key(|collection| format!("{collection}/"));
        let (after, page) = (String::new(), VecDeque::new());
        Ok(Self { account, collections: collections.into(), after, is_last: false, page })
    }

    /// The row to come, and its path.
    pub(in crate::repo) async fn peek(&mut self, conn: &mut PgConnection) -> sqlx::Result<Option<(String, &R)>> {
        while self.page.is_empty() {
            if self.is_last {
                self.collections.pop_front();
                self.after.clear();
                self.is_last = false;
            }
            let Some(collection) = self.collections.front() else { return Ok(None) };
            self.page = R::list(conn, self.account, collection, &self.after).await?.into();
            let bytes: usize = self.page.iter().map(R::bytes).sum();
            self.is_last = self.page.len() < to_usize(PAGE_ROWS) && bytes < to_usize(PAGE_BYTES);
            if let Some(last) = self.page.back() {
                last.rkey().clone_into(&mut self.after);
            }
        }
        let collection = self.collections.front().map(String::as_str).unwrap_or_default();
        Ok(self.page.front().map(|row| (format!("{collection}/{}", row.rkey()), row)))
    }

    /// Takes the row that [`Pages::peek`] showed, and the collection it is in.
    pub(in crate::repo) fn take(&mut self) -> Option<(String, R)> {
        let row = self.page.pop_front()?;
        Some((self.collections.front()?.clone(), row))
    }
}

fn to_usize(bound: i64) -> usize {
    usize::try_from(bound).unwrap_or(usize::MAX)
}
