-- no-transaction
-- blob_unused_idx is in its place, without those that are to be deleted anyway.
DROP INDEX CONCURRENTLY IF EXISTS blob_temporary_idx;
