-- Acts whose entry in the audit log is written by the very statement that does them: there is never one without the
-- other, and no lock is held while an answer travels. The functions that act take an actor for that; without one it was
-- the account's owner, whose acts are not noted.

-- Adds the entry of an act that is done once this transaction commits; gives its number. For statements of other modules.
CREATE FUNCTION audit_record_v1(
    p_actor text,
    p_action text,
    p_subject text,
    p_did text,
    p_before jsonb,
    p_after jsonb
) RETURNS bigint
LANGUAGE sql
AS $$
    INSERT INTO audit_log (actor, action, subject, did, outcome, before, after)
    VALUES (p_actor, p_action, p_subject, p_did, 'done', p_before, p_after)
    RETURNING id
$$;
COMMENT ON FUNCTION audit_record_v1 IS 'owner: common::audit';

-- How an account stands, as the audit log says it; null if there is none.
CREATE FUNCTION account_standing_v1(p_did text) RETURNS jsonb
LANGUAGE sql
AS $$
    SELECT jsonb_build_object(
        'handle', a.handle,
        'takedown', a.takedown_ref,
        'deactivatedAt', a.deactivated_at,
        'deleteAfter', a.delete_after
    )
    FROM account a
    WHERE a.did = p_did
$$;
COMMENT ON FUNCTION account_standing_v1 IS 'owner: common::lifecycle';

-- As `account_status_change_v1`, noted as `p_action` of `p_actor` if there is one. A change that changes nothing, because
-- there is no account, or it is another by now, or may not be opened, is not noted.
CREATE FUNCTION account_status_change_v2(
    p_actor text,
    p_action text,
    p_did text,
    p_change text,
    p_takedown_ref text,
    p_delete_after timestamptz,
    p_active_event bytea,
    p_deactivated_event bytea,
    p_takendown_event bytea,
    p_handle text,
    p_head bytea,
    p_identity_event bytea,
    p_sync_event bytea
) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_account bigint;
    v_before jsonb;
    v_outcome text;
BEGIN
    -- The locks of the change, in its order, so that what is noted as before is what the change finds.
    SELECT a.id INTO v_account FROM account a WHERE a.did = p_did;
    PERFORM FROM repo r WHERE r.account_id = v_account FOR UPDATE;
    PERFORM FROM account a WHERE a.id = v_account FOR NO KEY UPDATE;
    v_before := account_standing_v1(p_did);
    v_outcome := account_status_change_v1(
        p_did, p_change, p_takedown_ref, p_delete_after, p_active_event, p_deactivated_event, p_takendown_event,
        p_handle, p_head, p_identity_event, p_sync_event
    );
    IF p_actor IS NOT NULL
        AND v_outcome NOT IN ('no_account', 'moved')
        AND NOT (p_change = 'activate' AND v_outcome = 'takendown')
    THEN
        PERFORM audit_record_v1(p_actor, p_action, p_did, p_did, v_before, account_standing_v1(p_did));
    END IF;
    RETURN v_outcome;
END
$$;
COMMENT ON FUNCTION account_status_change_v2 IS 'owner: common::lifecycle';

-- As `account_delete_v1`, noted if there is an actor.
CREATE FUNCTION account_delete_v2(p_actor text, p_did text, p_event bytea) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_account bigint;
    v_before jsonb;
BEGIN
    SELECT a.id INTO v_account FROM account a WHERE a.did = p_did;
    PERFORM FROM repo r WHERE r.account_id = v_account FOR UPDATE;
    PERFORM FROM account a WHERE a.id = v_account FOR UPDATE;
    v_before := account_standing_v1(p_did);
    v_account := account_delete_v1(p_did, p_event);
    IF p_actor IS NOT NULL AND v_account IS NOT NULL THEN
        PERFORM audit_record_v1(p_actor, 'account.delete', p_did, p_did, v_before, NULL);
    END IF;
    RETURN v_account;
END
$$;
COMMENT ON FUNCTION account_delete_v2 IS 'owner: common::lifecycle';

-- As `identity_announce_v1`, noted if there is an actor. `p_did` is the account's.
CREATE FUNCTION identity_announce_v3(p_actor text, p_account bigint, p_did text, p_body bytea) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    v_seq bigint;
BEGIN
    v_seq := identity_announce_v1(p_account, p_body);
    IF p_actor IS NOT NULL AND v_seq IS NOT NULL THEN
        PERFORM audit_record_v1(p_actor, 'identity.announce', p_did, p_did, NULL, NULL);
    END IF;
    RETURN v_seq;
END
$$;
COMMENT ON FUNCTION identity_announce_v3 IS 'owner: common::lifecycle';
