-- no-transaction
-- The tokens that have expired.
CREATE INDEX CONCURRENTLY IF NOT EXISTS refresh_token_expires_at_idx ON refresh_token (expires_at);
