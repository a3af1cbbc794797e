-- The sequencer and its log. One row hands out the numbers; whoever holds its lock is the only one appending, so a reader
-- that has seen seq n has seen every event below n.

CREATE TABLE sequencer (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_seq bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE sequencer IS 'owner: common::sequencer';

INSERT INTO sequencer (last_seq) VALUES (0);

CREATE TABLE repo_event (
    seq bigint NOT NULL PRIMARY KEY,
    account_id bigint NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('#commit', '#sync', '#identity', '#account')),
    -- DAG-CBOR of the event's body without seq, which is spliced in when the frame is sent.
    body bytea NOT NULL,
    created_at timestamptz NOT NULL
) PARTITION BY RANGE (seq);
COMMENT ON TABLE repo_event IS 'owner: common::sequencer';

-- Where a backfill window begins.
CREATE INDEX repo_event_created_at_idx ON repo_event (created_at);

-- Bodies are mostly hashes: not worth the time to compress.
ALTER TABLE repo_event ALTER COLUMN body SET STORAGE EXTERNAL;

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE repo_event_p%s PARTITION OF repo_event FOR VALUES FROM (%s) TO (%s)',
            lpad(part::text, 6, '0'), part * 10000000::bigint, (part + 1) * 10000000::bigint
        );
    END LOOP;
END
$$;

-- Catches what no other partition takes, so that a late partition never stops a write.
CREATE TABLE repo_event_default PARTITION OF repo_event DEFAULT;

-- Appends events in the order given and returns the seq of the last. Call it last in a statement: the sequencer row stays
-- locked from here to the commit.
CREATE FUNCTION event_append_v1(p_account bigint[], p_kind text[], p_body bytea[]) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_count integer := cardinality(p_account);
    v_last bigint;
    v_now timestamptz;
BEGIN
    UPDATE sequencer SET last_seq = last_seq + v_count WHERE only_row RETURNING last_seq INTO STRICT v_last;
    v_now := clock_timestamp();

    INSERT INTO repo_event (seq, account_id, kind, body, created_at)
    SELECT v_last - v_count + e.ordinal, e.account_id, e.kind, e.body, v_now
    FROM unnest(p_account, p_kind, p_body) WITH ORDINALITY AS e (account_id, kind, body, ordinal);

    PERFORM pg_notify('repo_event', v_last::text);
    RETURN v_last;
END
$$;
COMMENT ON FUNCTION event_append_v1 IS 'owner: common::sequencer';
