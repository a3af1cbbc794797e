-- Smaller partitions: a partition goes once its newest event is old, and few servers ever fill ten million. From here
-- on `common::sequencer` makes them, ahead of need and sized by the rate of events; these are for the first minutes.

SET LOCAL lock_timeout = '5s';

-- Every partition that no event has reached yet.
DO $$
DECLARE
    v_last bigint;
    v_part regclass;
BEGIN
    -- Nothing is appended until this migration commits.
    SELECT last_seq INTO STRICT v_last FROM sequencer FOR UPDATE;
    FOR v_part IN
        SELECT p.part
        FROM (
            SELECT
                c.oid::regclass AS part,
                substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''(\d+)''\)')::bigint AS lower
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'repo_event'::regclass
        ) AS p
        WHERE p.lower > v_last OR (v_last = 0 AND p.lower = 0)
    LOOP
        EXECUTE format('DROP TABLE %s', v_part);
    END LOOP;
END
$$;

-- Events stay in their row up to what a page holds: moved out of line, one costs three rows more and two entries of an
-- index. They are never changed and soon dropped, so vacuum has nothing to do for them.
DO $$
DECLARE
    v_first bigint;
BEGIN
    SELECT coalesce(max(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d+)''\)')::bigint), 0) INTO v_first
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'repo_event'::regclass;
    FOR part IN 0..9 LOOP
        EXECUTE format(
            'CREATE TABLE repo_event_from_%s PARTITION OF repo_event FOR VALUES FROM (%s) TO (%s)
             WITH (toast_tuple_target = 8160, autovacuum_vacuum_insert_threshold = -1)',
            lpad((v_first + part * 20000)::text, 12, '0'), v_first + part * 20000, v_first + (part + 1) * 20000
        );
    END LOOP;
END
$$;

-- Seqs rise with time, so the place of a moment is found by halving, and no append has to keep an index for it.
DROP INDEX repo_event_created_at_idx;
