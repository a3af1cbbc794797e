-- no-transaction
-- The newest invitation codes, for operators.
CREATE INDEX CONCURRENTLY IF NOT EXISTS invite_code_created_at_idx ON invite_code (created_at, code);
