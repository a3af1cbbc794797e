-- What relays said of this server when a worker last asked. Here rather than in the worker's memory, so that every worker
-- shows the same.
CREATE TABLE relay_check (
    -- The relay's origin, as https://relay.example.
    relay text COLLATE "C" PRIMARY KEY,
    -- A `Check` of common::relay.
    report jsonb NOT NULL,
    checked_at timestamptz NOT NULL
);
COMMENT ON TABLE relay_check IS 'owner: common::relay';
