//! Bytes of blobs that were taken down, or are shown again.

use common::blob::PlaceObject;

use crate::runner::{Context, JobError, Run};

impl Run for PlaceObject {
    /// Looks at the mark as it is now; the bytes that are there already are left there.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        context.blobs.place_object(&self.did, self.cid).await.map_err(JobError::retry)
    }
}
