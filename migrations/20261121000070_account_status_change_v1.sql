-- Changes whether an account may be used, and tells the stream, in one statement. `p_change` is one of:
--   'deactivate'  its owner closes it; `p_delete_after` is when it may be deleted, if ever.
--   'activate'    it is open again. Not if it is taken down: then 'takendown', and nothing changed.
--   'take_down'   a moderator closes it, for `p_takedown_ref`. Its sessions end.
--   'restore'     a moderator opens it. Its sessions end again: who had got hold of one must sign in.
--   'announce'    nothing changes; the stream is told how things are.
-- Each may be repeated, and the stream is told each time.
--
-- The bodies of `#account` come for every status that the account may have then: which it is, only the locks tell. An
-- activation announces handle and head as well, so it comes with both as its caller saw them, and with the bodies of
-- `#identity` and `#sync` for them: 'moved', and nothing changed, if they are others by now.
--
-- Gives the status that the account then has, 'active', 'deactivated' or 'takendown'; 'no_account' if there is none.
--
-- Lock order, here and everywhere: the repo row, then the account row, then the sequencer row, which is taken last. A
-- commit holds its repo row until it stands, so none is numbered behind the event that forbids it.
CREATE FUNCTION account_status_change_v1(
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
    v_head bytea;
    v_before record;
    v_status text;
    v_kinds text[] := ARRAY['#account'];
    v_bodies bytea[];
BEGIN
    SELECT a.id INTO v_account FROM account a WHERE a.did = p_did;
    SELECT r.head INTO v_head FROM repo r WHERE r.account_id = v_account FOR UPDATE;
    -- A statement of its own: it is to be read after the lock is held.
    SELECT a.handle, a.takedown_ref INTO v_before FROM account a WHERE a.id = v_account FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'no_account';
    END IF;
    IF p_change = 'activate' THEN
        IF v_before.takedown_ref IS NOT NULL THEN
            RETURN 'takendown';
        ELSIF v_head IS DISTINCT FROM p_head OR v_before.handle IS DISTINCT FROM p_handle THEN
            RETURN 'moved';
        END IF;
    END IF;

    CASE p_change
        WHEN 'deactivate' THEN
            UPDATE account
            SET deactivated_at = coalesce(deactivated_at, clock_timestamp()), delete_after = p_delete_after
            WHERE id = v_account;
        WHEN 'activate' THEN
            UPDATE account SET deactivated_at = NULL, delete_after = NULL WHERE id = v_account;
        WHEN 'take_down' THEN
            UPDATE account SET takedown_ref = p_takedown_ref WHERE id = v_account;
        WHEN 'restore' THEN
            UPDATE account SET takedown_ref = NULL WHERE id = v_account;
        WHEN 'announce' THEN
            NULL;
    END CASE;
    IF p_change IN ('take_down', 'restore') THEN
        DELETE FROM refresh_token WHERE account_id = v_account;
    END IF;

    SELECT
        CASE
            WHEN a.takedown_ref IS NOT NULL THEN 'takendown'
            WHEN a.deactivated_at IS NOT NULL THEN 'deactivated'
            ELSE 'active'
        END
    INTO STRICT v_status
    FROM account a
    WHERE a.id = v_account;
    v_bodies := ARRAY[
        CASE v_status
            WHEN 'takendown' THEN p_takendown_event
            WHEN 'deactivated' THEN p_deactivated_event
            ELSE p_active_event
        END
    ];
    IF p_change = 'activate' THEN
        v_kinds := v_kinds || ARRAY['#identity', '#sync'];
        v_bodies := v_bodies || ARRAY[p_identity_event, p_sync_event];
    END IF;
    PERFORM event_append_v1(array_fill(v_account, ARRAY[cardinality(v_kinds)]), v_kinds, v_bodies);
    RETURN v_status;
END
$$;
COMMENT ON FUNCTION account_status_change_v1 IS 'owner: common::lifecycle';
