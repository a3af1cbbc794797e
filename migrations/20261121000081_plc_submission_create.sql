-- Users' changes of their DIDs on their way through the PLC directory. The row is there before the directory hears of the
-- change, and goes in the statement that announces it. One that stays behind tells of a process that died in between, or of
-- an answer of the directory that was lost: then it is announced all the same, for who looks sees how things are.
CREATE TABLE plc_submission (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE plc_submission IS 'owner: common::lifecycle';
CREATE INDEX plc_submission_account_id_idx ON plc_submission (account_id);

-- As identity_announce_v1, for a change of which a row tells: null as well if somebody else has announced it already.
CREATE FUNCTION identity_announce_v2(p_account bigint, p_submission bigint, p_body bytea) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    PERFORM FROM repo WHERE account_id = p_account FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM plc_submission WHERE id = p_submission;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN event_append_v1(ARRAY[p_account], ARRAY['#identity'], ARRAY[p_body]);
END
$$;
COMMENT ON FUNCTION identity_announce_v2 IS 'owner: common::lifecycle';
