-- Places in an account's quota that uploads hold which are on their way: taken before the bytes are stored, so that nothing is
-- stored that does not fit in. One whose upload broke off counts for ten minutes.
CREATE TABLE blob_reservation (
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    cid bytea NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, cid)
);
COMMENT ON TABLE blob_reservation IS 'owner: common::blob';
