-- Repositories: the head that commits compare and swap, the records, the live tree nodes, the links between records.

CREATE TABLE repo (
    account_id bigint PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- CID, rev and block of the newest commit, and the root of its tree. Older commits are not kept.
    head bytea NOT NULL,
    rev text COLLATE "C" NOT NULL,
    root bytea NOT NULL,
    commit_block bytea NOT NULL,
    record_count bigint NOT NULL
) WITH (fillfactor = 40);
COMMENT ON TABLE repo IS 'owner: common::repo';

CREATE TABLE record (
    account_id bigint NOT NULL,
    collection text COLLATE "C" NOT NULL,
    rkey text COLLATE "C" NOT NULL,
    cid bytea NOT NULL,
    -- Rev of the commit that wrote this version.
    rev text COLLATE "C" NOT NULL,
    -- DAG-CBOR.
    value bytea NOT NULL,
    indexed_at timestamptz NOT NULL,
    takedown_ref text,
    PRIMARY KEY (account_id, collection, rkey)
) PARTITION BY HASH (account_id);
COMMENT ON TABLE record IS 'owner: common::repo';

-- getBlocks asks by CID.
CREATE INDEX record_account_id_cid_idx ON record (account_id, cid);

CREATE TABLE mst_node (
    account_id bigint NOT NULL,
    cid bytea NOT NULL,
    -- Rev of the commit that brought this node.
    rev text COLLATE "C" NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (account_id, cid)
) PARTITION BY HASH (account_id);
COMMENT ON TABLE mst_node IS 'owner: common::repo';
ALTER TABLE mst_node ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Which DID or record a follow, block, like or repost points at; at most one target a record.
CREATE TABLE backlink (
    account_id bigint NOT NULL,
    collection text COLLATE "C" NOT NULL,
    rkey text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, collection, rkey)
) PARTITION BY HASH (account_id);
COMMENT ON TABLE backlink IS 'owner: common::repo';

-- An address of a record may have 2,900 bytes, which is more than an index entry can hold.
CREATE INDEX backlink_target_idx ON backlink (account_id, collection, left(target, 1000));

DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['record', 'mst_node', 'backlink'] LOOP
        FOR part IN 0..15 LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
                parent || '_p' || lpad(part::text, 2, '0'), parent, part
            );
        END LOOP;
    END LOOP;
END
$$;
