-- Blobs whose rows are gone and whose bytes are going.
--
-- By DID, as the bytes are: an account that was deleted may have come back under another number. As long as a row is here,
-- nobody may upload these bytes for this DID.
CREATE TABLE blob_deletion (
    did text COLLATE "C" NOT NULL,
    cid bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the bytes were deleted.
    deleted_at timestamptz,
    PRIMARY KEY (did, cid)
);
COMMENT ON TABLE blob_deletion IS 'owner: common::blob';
CREATE INDEX blob_deletion_created_at_idx ON blob_deletion (created_at);
