-- Creates an account with its key, its first commit, its first events and its first session, in one statement: there is
-- never an account without a repo, nor a repo that the stream does not know of. A taken DID, handle or e-mail address is a unique violation
-- of account_did_key, account_handle_key or account_email_key; an unusable invite code raises 'invite_not_available'.
CREATE FUNCTION account_create_v1(
    p_did text,
    p_handle text,
    p_email text,
    p_password_hash text,
    p_invite_code text,
    p_public_key text,
    p_kek_id text,
    p_sealed_key bytea,
    p_head bytea,
    p_rev text,
    p_root bytea,
    p_commit_block bytea,
    p_root_bytes bytea,
    p_event_kind text[],
    p_event_body bytea[],
    p_refresh_token_id text,
    p_refresh_token_expires_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    v_account bigint;
    v_uses integer;
BEGIN
    INSERT INTO account (did, handle, email, password_hash)
    VALUES (p_did, p_handle, p_email, p_password_hash)
    RETURNING id INTO v_account;

    IF p_invite_code IS NOT NULL THEN
        -- Locked, so that two sign-ups cannot share the last use.
        SELECT c.available_uses INTO v_uses
        FROM invite_code c
        WHERE c.code = p_invite_code
            AND NOT c.disabled
            AND NOT EXISTS (SELECT FROM account a WHERE a.did = c.for_account AND a.takedown_ref IS NOT NULL)
        FOR UPDATE OF c;
        IF v_uses IS NULL OR v_uses <= (SELECT count(*) FROM invite_code_use WHERE code = p_invite_code) THEN
            RAISE EXCEPTION 'invite_not_available' USING ERRCODE = 'RK001';
        END IF;
        INSERT INTO invite_code_use (code, used_by) VALUES (p_invite_code, v_account);
    END IF;

    INSERT INTO signing_key (account_id, public_key, kek_id, sealed)
    VALUES (v_account, p_public_key, p_kek_id, p_sealed_key);

    INSERT INTO refresh_token (id, account_id, expires_at)
    VALUES (p_refresh_token_id, v_account, p_refresh_token_expires_at);

    INSERT INTO repo (account_id, head, rev, root, commit_block, record_count)
    VALUES (v_account, p_head, p_rev, p_root, p_commit_block, 0);
    INSERT INTO mst_node (account_id, cid, rev, bytes) VALUES (v_account, p_root, p_rev, p_root_bytes);

    PERFORM event_append_v1(array_fill(v_account, ARRAY[cardinality(p_event_kind)]), p_event_kind, p_event_body);
    RETURN v_account;
END
$$;
COMMENT ON FUNCTION account_create_v1 IS 'owner: common::lifecycle';
