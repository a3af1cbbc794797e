-- no-transaction
-- The oldest documents, which are forgotten first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS did_cache_updated_at_idx ON did_cache (updated_at);
