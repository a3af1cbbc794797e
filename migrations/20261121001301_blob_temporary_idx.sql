-- no-transaction
-- Uploads that no record has referred to, the oldest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS blob_temporary_idx ON blob (created_at) WHERE state = 'temporary';
