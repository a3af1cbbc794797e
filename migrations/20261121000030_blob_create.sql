-- Blobs, and which records refer to them. Both by account: deleting one account never takes another's bytes.

CREATE TABLE blob (
    account_id bigint NOT NULL,
    cid bytea NOT NULL,
    -- As sniffed at the upload.
    mime_type text NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    -- 'temporary' until a commit refers to it.
    state text NOT NULL CHECK (state IN ('temporary', 'permanent')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    takedown_ref text,
    PRIMARY KEY (account_id, cid)
);
COMMENT ON TABLE blob IS 'owner: common::blob';

-- The blob need not be there: an imported repo refers to blobs that are uploaded later.
CREATE TABLE record_blob (
    account_id bigint NOT NULL,
    cid bytea NOT NULL,
    collection text COLLATE "C" NOT NULL,
    rkey text COLLATE "C" NOT NULL,
    -- Rev of the commit that wrote this version of the record.
    rev text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, cid, collection, rkey)
) PARTITION BY HASH (account_id);
COMMENT ON TABLE record_blob IS 'owner: common::blob';

-- A record that is written again or deleted takes its references with it.
CREATE INDEX record_blob_record_idx ON record_blob (account_id, collection, rkey);

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF record_blob FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            'record_blob_p' || lpad(part::text, 2, '0'), part
        );
    END LOOP;
END
$$;
