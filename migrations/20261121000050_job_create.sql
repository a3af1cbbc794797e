-- Work to be done once: enqueued in the transaction of its cause, done by any worker.

CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What to do: the name of a kind, and what it needs to know. Ids, never secrets.
    kind text COLLATE "C" NOT NULL,
    payload jsonb NOT NULL,
    -- Jobs of one kind and key are one while they wait, and are done one at a time.
    dedupe_key text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Not to be done before.
    run_at timestamptz NOT NULL,
    -- How often it was begun, the present time included.
    attempts integer NOT NULL DEFAULT 0,
    -- The worker that does it now, and until when it is the worker's, who renews this with its lease. Once that is over
    -- anybody may take it. As in job_schedule.
    claimed_by bigint,
    claimed_until timestamptz,
    -- Why it failed the last time.
    last_error text,
    failed_at timestamptz,
    -- When it was given up; it waits for an operator.
    dead_at timestamptz
);
COMMENT ON TABLE job IS 'owner: common::jobs';

-- What is due, for each kind.
CREATE INDEX job_due ON job (kind, run_at, id) WHERE dead_at IS NULL;
-- One waiting job of a key. A job that runs does not count: what happens meanwhile needs another run.
CREATE UNIQUE INDEX job_waiting_key ON job (kind, dedupe_key)
    WHERE dedupe_key IS NOT NULL AND claimed_by IS NULL AND dead_at IS NULL;
-- Whether a job of the same key runs.
CREATE INDEX job_claimed_key ON job (kind, dedupe_key) WHERE dedupe_key IS NOT NULL AND claimed_by IS NOT NULL;
-- What stands in for a dead letter that is to be tried again.
CREATE INDEX job_key ON job (kind, dedupe_key) WHERE dedupe_key IS NOT NULL;
-- What a worker does now.
CREATE INDEX job_claimed ON job (claimed_by) WHERE claimed_by IS NOT NULL;
-- What waits for an operator.
CREATE INDEX job_dead ON job (id) WHERE dead_at IS NOT NULL;

-- Enqueues a job, and wakes the workers once the caller's transaction is committed. A job of the same kind and key that
-- waits already takes the new payload and begins anew; it is locked until then, so no worker can begin it before the new
-- cause is there to be seen. Returns the job's id.
CREATE FUNCTION job_enqueue_v1(p_kind text, p_payload jsonb, p_dedupe_key text, p_delay interval) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint;
BEGIN
    INSERT INTO job (kind, payload, dedupe_key, run_at)
    VALUES (p_kind, p_payload, p_dedupe_key, clock_timestamp() + p_delay)
    ON CONFLICT (kind, dedupe_key) WHERE dedupe_key IS NOT NULL AND claimed_by IS NULL AND dead_at IS NULL
    DO UPDATE SET
        payload = excluded.payload, created_at = excluded.created_at, run_at = LEAST(job.run_at, excluded.run_at),
        attempts = 0, last_error = NULL, failed_at = NULL
    RETURNING id INTO v_id;
    -- Later ones are found by looking.
    IF p_delay <= interval '0' THEN
        PERFORM pg_notify('job', '');
    END IF;
    RETURN v_id;
END
$$;
