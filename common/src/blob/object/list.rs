//! Going through all objects, to find those that nobody knows.

use std::sync::Arc;

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::{Area, Objects, Store, StoreError};

/// Objects that are listed at a time; a bucket says itself how many.
pub(super) const PAGE: usize = 500;

/// An object that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Whose it is.
    pub did: Did,
    /// The CID of its bytes, by its name.
    pub cid: Cid,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: DateTime<Utc>,
}

/// Some of the objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// In no order that all stores share. One that was taken down and restored may come twice.
    pub objects: Vec<Listed>,
    /// How many things lay between them that have no name of an object.
    pub foreign: u64,
}

impl Objects {
    /// All objects, in use or not, some at a time. What comes or goes meanwhile may be listed or not.
    pub fn list(&self) -> BoxStream<'static, Result<Page, StoreError>> {
        match &*self.0 {
            Store::S3(_) => self.list_bucket(Area::InUse).chain(self.list_bucket(Area::Quarantine)).boxed(),
            Store::Disk(folder) => {
                let (sender, pages) = mpsc::channel(1);
                folder.list(sender);
                stream::unfold(pages, async |mut pages| Some((pages.recv().await?, pages))).boxed()
            }
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(memory) => stream::iter([Ok(memory.list())]).boxed(),
        }
    }

    fn list_bucket(&self, area: Area) -> BoxStream<'static, Result<Page, StoreError>> {
        let store = Arc::clone(&self.0);
        let first = Some(None);
        let pages = stream::try_unfold(first, move |place: Option<Option<String>>| {
            let store = Arc::clone(&store);
            async move {
                let (Some(token), Store::S3(bucket)) = (place, &*store) else { return Ok(None) };
                let (page, next) = Box::pin(bucket.list(area, token)).await?;
                Ok(Some((page, next.map(Some))))
            }
        });
        pages.boxed()
    }
}
