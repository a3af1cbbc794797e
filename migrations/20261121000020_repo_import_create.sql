-- Repos on their way in: who imports, and what has arrived. Nothing that reads repos looks here, so a half-loaded import is
-- invisible, and `repo_import_finish_v1` makes all of it visible at once.
--
-- Unlogged: every row is worth something only until its import ends, and writing it to the log would double the log of an
-- import. After a crash of Postgres the tables are empty, which the finish notices by the counts.

-- The one import that an account may have at a time. Whoever holds the row's id may load; when the lease has run out, the
-- next import of the account takes the row over with a new id, and the old holder can load no more.
CREATE UNLOGGED TABLE repo_import (
    account_id bigint PRIMARY KEY,
    id bigint GENERATED ALWAYS AS IDENTITY,
    leased_until timestamptz NOT NULL
);
COMMENT ON TABLE repo_import IS 'owner: common::repo';

CREATE INDEX repo_import_leased_until_idx ON repo_import (leased_until);

CREATE UNLOGGED TABLE repo_import_record (
    import_id bigint NOT NULL,
    collection text COLLATE "C" NOT NULL,
    rkey text COLLATE "C" NOT NULL,
    cid bytea NOT NULL,
    -- DAG-CBOR.
    value bytea NOT NULL,
    -- As in backlink, if it is a record that has one.
    target text COLLATE "C"
);
COMMENT ON TABLE repo_import_record IS 'owner: common::repo';
CREATE INDEX repo_import_record_import_id_idx ON repo_import_record (import_id);

-- The blobs that the records refer to, there or not.
CREATE UNLOGGED TABLE repo_import_blob (
    import_id bigint NOT NULL,
    cid bytea NOT NULL,
    collection text COLLATE "C" NOT NULL,
    rkey text COLLATE "C" NOT NULL
);
COMMENT ON TABLE repo_import_blob IS 'owner: common::repo';
CREATE INDEX repo_import_blob_import_id_idx ON repo_import_blob (import_id);

CREATE UNLOGGED TABLE repo_import_node (
    import_id bigint NOT NULL,
    cid bytea NOT NULL,
    bytes bytea NOT NULL
);
COMMENT ON TABLE repo_import_node IS 'owner: common::repo';
ALTER TABLE repo_import_node ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE INDEX repo_import_node_import_id_idx ON repo_import_node (import_id);
