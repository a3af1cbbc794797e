-- no-transaction
-- Uploads that no record has referred to and that are not to be deleted yet, the oldest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS blob_unused_idx ON blob (created_at)
    WHERE state = 'temporary' AND delete_after IS NULL;
