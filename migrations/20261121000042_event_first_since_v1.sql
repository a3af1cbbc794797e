-- The first seq numbered at `p_time` or later; null if there is none. Halves the log: times rise with seqs. Where a
-- clock was set back they do not quite, and an event near the edge may be on the wrong side of it.
--
-- A function for the sake of its settings: a plan that was made while a partition was empty must not stay with it.
CREATE FUNCTION event_first_since_v1(p_time timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
DECLARE
    -- The answer is above v_low. Whatever is numbered v_high or above belongs to it, too.
    v_low bigint;
    v_high bigint;
    v_middle bigint;
    v_seq bigint;
    v_time timestamptz;
BEGIN
    SELECT s.floor_seq - 1, s.last_seq + 1 INTO STRICT v_low, v_high FROM sequencer s;
    WHILE v_high - v_low > 1 LOOP
        v_middle := (v_low + v_high) / 2;
        -- The events of deleted accounts are gone: there may be none left between the two.
        SELECT e.seq, e.created_at INTO v_seq, v_time
        FROM repo_event e WHERE e.seq >= v_middle AND e.seq < v_high ORDER BY e.seq LIMIT 1;
        IF v_seq IS NULL OR v_time >= p_time THEN
            v_high := v_middle;
        ELSE
            v_low := v_seq;
        END IF;
    END LOOP;
    SELECT e.seq INTO v_seq FROM repo_event e WHERE e.seq > v_low ORDER BY e.seq LIMIT 1;
    RETURN v_seq;
END
$$;
COMMENT ON FUNCTION event_first_since_v1 IS 'owner: common::sequencer';
