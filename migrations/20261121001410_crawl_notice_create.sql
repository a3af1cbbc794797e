-- What relays were told. One row for each, whichever worker or command tells it: so all of them together tell a relay no
-- more often than they may, and what one learns of a relay that is away, all know.
CREATE TABLE crawl_notice (
    -- The relay's origin, as https://relay.example.
    relay text COLLATE "C" PRIMARY KEY,
    -- When it last accepted, and the newest seq of the log then: it knows of what came before.
    told_at timestamptz,
    told_seq bigint,
    -- Not to be told before. Whoever is about to tell it moves this first, so nobody else does.
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- How often in a row it did not accept, and what came of the last try.
    failures integer NOT NULL DEFAULT 0,
    failed_at timestamptz,
    last_error text
);
COMMENT ON TABLE crawl_notice IS 'owner: common::relay';
