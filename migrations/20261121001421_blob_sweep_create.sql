-- How far collection has come in its rounds through all blobs, in the order of accounts and CIDs, looking for those that lost
-- their last reference without a note: before there were notes, or past the trigger. One row.
CREATE TABLE blob_sweep (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    after_account bigint NOT NULL DEFAULT 0,
    after_cid bytea NOT NULL DEFAULT ''
);
COMMENT ON TABLE blob_sweep IS 'owner: common::blob';
INSERT INTO blob_sweep DEFAULT VALUES;
