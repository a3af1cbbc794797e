-- Announces that something about an account's DID has changed: one #identity event. Gives its seq, or null if the account is
-- gone. Lock order: the repo's row, then the sequencer row; so an announcement is never numbered behind the end of its account.
CREATE FUNCTION identity_announce_v1(p_account bigint, p_body bytea) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
    PERFORM FROM repo WHERE account_id = p_account FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN event_append_v1(ARRAY[p_account], ARRAY['#identity'], ARRAY[p_body]);
END
$$;
COMMENT ON FUNCTION identity_announce_v1 IS 'owner: common::lifecycle';
