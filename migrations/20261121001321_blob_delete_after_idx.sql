-- no-transaction
-- What is to be deleted, the first due first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS blob_delete_after_idx ON blob (delete_after) INCLUDE (size)
    WHERE delete_after IS NOT NULL;
