//! Objects that no row names: what an upload left that broke off between the two, or a database that was restored from
//! a backup older than the store.

mod store;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;

use super::{Listed, Objects, Page, StoreError};
use crate::db::PgPool;

/// Looks for orphans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Orphans {
    pool: PgPool,
    objects: Objects,
}

impl Orphans {
    /// Compares the objects with the rows in `pool`'s database.
    pub fn new(pool: PgPool, objects: Objects) -> Self {
        Self { pool, objects }
    }

    /// All objects, some at a time.
    pub fn pages(&self) -> BoxStream<'static, Result<Page, StoreError>> {
        self.objects.list()
    }

    /// Those of a page that no row names and that were written before `before`. What was written later may belong to an
    /// upload that is still on its way. What is being deleted already is none.
    pub async fn find(&self, page: Page, before: DateTime<Utc>) -> sqlx::Result<Vec<Listed>> {
        let mut objects = page.objects;
        objects.retain(|object| object.modified < before);
        if objects.is_empty() {
            return Ok(objects);
        }
        let unknown = store::list_unknown(&mut *self.pool.acquire().await?, &objects).await?;
        let unknown = HashSet::<usize>::from_iter(unknown);
        let numbered = objects.into_iter().enumerate();
        Ok(numbered.filter(|(place, _)| unknown.contains(place)).map(|(_, object)| object).collect())
    }

    /// Has orphans deleted, as blobs that were given up: by whoever collects those, unless they are uploaded by then.
    /// Gives how many there still were.
    pub async fn give_up(&self, orphans: &[Listed]) -> sqlx::Result<u64> {
        store::insert_deletions(&mut *self.pool.acquire().await?, orphans).await
    }
}
