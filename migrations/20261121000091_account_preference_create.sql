-- What clients keep for their users. One row an account, so that putting them is one statement and two of those at once leave
-- what one of them put.

CREATE TABLE account_preference (
    account_id bigint PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- The preferences in their order: the `$type` of each, and each as JSON text, which stays as the client wrote it.
    names text[] COLLATE "C" NOT NULL,
    contents text[] COLLATE "C" NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (cardinality(names) = cardinality(contents))
);
COMMENT ON TABLE account_preference IS 'owner: common::preference';
