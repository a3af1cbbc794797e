-- Sign-ups that must not be forgotten half-way, keys that are reserved for accounts to come, and the statement that
-- makes an account.

-- A DID that is being made for an account. The row is there before the directory hears of the DID, and goes in the
-- statement that makes the account. One that stays behind tells of a process that died in between: its DID is ended.
CREATE TABLE account_draft (
    did text COLLATE "C" PRIMARY KEY,
    -- The signed operation that makes the DID.
    operation jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Somebody is ending the DID: no account can be made of it any more.
    undoing boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE account_draft IS 'owner: common::lifecycle';
CREATE INDEX account_draft_created_at_idx ON account_draft (created_at);

-- Keys that an account will sign with once it is made: whoever moves here puts one into their DID before that.
CREATE TABLE reserved_signing_key (
    -- The DID it is for, or, if that is not said, the key itself as did:key. Also the associated data of the seal.
    did text COLLATE "C" PRIMARY KEY,
    public_key text COLLATE "C" NOT NULL,
    kek_id text COLLATE "C" NOT NULL,
    -- As in signing_key.
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE reserved_signing_key IS 'owner: common::keys';
CREATE INDEX reserved_signing_key_created_at_idx ON reserved_signing_key (created_at);

-- As account_create_v1; besides:
--   `p_is_drafted`: the DID was made for this account, and its row of account_draft is used up. Without such a row the DID
--   is being ended: raises 'draft_undone'.
--   `p_delete_after`: the account moves here. It starts closed, silently (without events), until its owner opens it, and
--   may be deleted if that has not happened by then.
-- A key reserved for the DID is used up.
CREATE FUNCTION account_create_v2(
    p_did text,
    p_handle text,
    p_email text,
    p_password_hash text,
    p_invite_code text,
    p_is_drafted boolean,
    p_delete_after timestamptz,
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
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_account bigint;
    v_uses integer;
BEGIN
    IF p_is_drafted THEN
        DELETE FROM account_draft WHERE did = p_did AND NOT undoing;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'draft_undone' USING ERRCODE = 'RK002';
        END IF;
    END IF;

    INSERT INTO account (did, handle, email, password_hash, deactivated_at, delete_after)
    VALUES (
        p_did, p_handle, p_email, p_password_hash,
        CASE WHEN p_delete_after IS NOT NULL THEN clock_timestamp() END, p_delete_after
    )
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
    DELETE FROM reserved_signing_key WHERE did = p_did;

    INSERT INTO refresh_token (id, account_id, expires_at)
    VALUES (p_refresh_token_id, v_account, p_refresh_token_expires_at);

    INSERT INTO repo (account_id, head, rev, root, commit_block, record_count)
    VALUES (v_account, p_head, p_rev, p_root, p_commit_block, 0);
    INSERT INTO mst_node (account_id, cid, rev, bytes) VALUES (v_account, p_root, p_rev, p_root_bytes);

    IF cardinality(p_event_kind) > 0 THEN
        PERFORM event_append_v1(array_fill(v_account, ARRAY[cardinality(p_event_kind)]), p_event_kind, p_event_body);
    END IF;
    RETURN v_account;
END
$$;
COMMENT ON FUNCTION account_create_v2 IS 'owner: common::lifecycle';
