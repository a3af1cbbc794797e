-- As `account_delete_v2`, and has what is left of the account removed at once, by a job of common::lifecycle. One that waits
-- already does for this account as well: it looks at what there is.
CREATE FUNCTION account_delete_v3(p_actor text, p_did text, p_event bytea) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_account bigint;
BEGIN
    SELECT a.id INTO v_account FROM account a WHERE a.did = p_did;
    PERFORM FROM repo r WHERE r.account_id = v_account FOR UPDATE;
    PERFORM FROM account a WHERE a.id = v_account FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Before the sequencer's row is taken, as every other lock.
    PERFORM job_enqueue_v1('purge_deleted', '{}', '', interval '0');
    RETURN account_delete_v2(p_actor, p_did, p_event);
END
$$;
COMMENT ON FUNCTION account_delete_v3 IS 'owner: common::lifecycle';
