-- Background work that comes round. Rows, so that any number of workers share it and never run one schedule twice at a
-- time.

-- The workers that are alive: each renews its lease, and with it its claims, which are free again once that stops.
CREATE TABLE worker_lease (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Host and process, for people.
    name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE worker_lease IS 'owner: common::jobs';

CREATE TABLE job_schedule (
    name text COLLATE "C" PRIMARY KEY,
    next_run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The worker that runs it now, and until when it is the worker's, who renews this with its lease. In this row
    -- rather than by a look at the lease: whoever claims has locked this row and sees its newest state, but not that of
    -- other tables.
    claimed_by bigint,
    claimed_until timestamptz,
    -- How the last run ended: what it did, or why it failed.
    finished_at timestamptz,
    outcome text,
    -- Runs that failed since the last one that did not.
    failures integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE job_schedule IS 'owner: common::jobs';
