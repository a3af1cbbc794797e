-- Accounts that were deleted, and what is still to be removed of them.
--
-- A deletion is one short statement, after which the account is gone for everybody: `account_delete_v1`. Its records,
-- which may be hundreds of thousands, and its older events, which lie anywhere in the log, go in small steps after that.
-- Each step notes how far it came, so whoever goes on after a crash begins where it stopped.
CREATE TABLE account_deletion (
    account_id bigint PRIMARY KEY,
    -- The bytes of its blobs lie under this name.
    did text COLLATE "C" NOT NULL,
    -- Body of the `#account` event that says so: the one event of the account that stays.
    event bytea NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- No row is left of it but those of its blobs, which go with their bytes.
    rows_gone boolean NOT NULL DEFAULT false,
    -- Below this seq none of its events is left; and none at all but the one above once `events_gone`.
    events_to bigint NOT NULL DEFAULT 0,
    events_gone boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE account_deletion IS 'owner: common::lifecycle';

-- Deletes an account: gives its number, or null if there is none, then nothing happens. `p_event` is the body of the
-- `#account` event.
--
-- Lock order as everywhere: the repo row, the account row, the sequencer row. A commit that comes later finds no repo.
CREATE FUNCTION account_delete_v1(p_did text, p_event bytea) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_account bigint;
BEGIN
    SELECT a.id INTO v_account FROM account a WHERE a.did = p_did;
    PERFORM 1 FROM repo r WHERE r.account_id = v_account FOR UPDATE;
    PERFORM 1 FROM account a WHERE a.id = v_account FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    -- What it used of invitations stays used.
    UPDATE invite_code c
    SET available_uses = greatest(c.available_uses - 1, 0)
    FROM invite_code_use u
    WHERE u.used_by = v_account AND c.code = u.code;

    -- The tables that hold few rows of an account are named here or refer to it with ON DELETE CASCADE; those that may
    -- hold many are in `account_purge_v1`.
    DELETE FROM invite_code_use WHERE used_by = v_account;
    DELETE FROM refresh_token WHERE account_id = v_account;
    DELETE FROM signing_key WHERE account_id = v_account;
    DELETE FROM repo WHERE account_id = v_account;
    DELETE FROM account WHERE id = v_account;
    INSERT INTO account_deletion (account_id, did, event) VALUES (v_account, p_did, p_event);

    PERFORM event_append_v1(ARRAY[v_account], ARRAY['#account'], ARRAY[p_event]);
    RETURN v_account;
END
$$;
COMMENT ON FUNCTION account_delete_v1 IS 'owner: common::lifecycle';

-- Deletes an account that its owner closed, if `delete_after` has come: gives its number, or null if that is not so, or no
-- longer. An account closed for less than a day, or taken down, stays.
CREATE FUNCTION account_delete_overdue_v1(p_did text, p_event bytea, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_account bigint;
BEGIN
    SELECT a.id INTO v_account FROM account a WHERE a.did = p_did;
    PERFORM 1 FROM repo r WHERE r.account_id = v_account FOR UPDATE;
    -- Its owner may have opened it since it was found overdue.
    PERFORM 1 FROM account a
    WHERE a.id = v_account AND a.delete_after < p_now AND a.takedown_ref IS NULL
        AND a.deactivated_at < p_now - interval '1 day'
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN account_delete_v1(p_did, p_event);
END
$$;
COMMENT ON FUNCTION account_delete_overdue_v1 IS 'owner: common::lifecycle';

-- Deletes some rows of a deleted account, at most `p_limit` of a table; gives how many. Notes when none is left, which is
-- when it gives zero. The rows of its blobs stay: whoever removes the bytes needs them.
--
-- Each table is cut at the key of its `p_limit`-th row, so that a step reads what it deletes and no more. The texts and
-- bytes that stand for a cut behind the last row are above every collection and CID.
CREATE FUNCTION account_purge_v1(p_account bigint, p_limit integer) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
DECLARE
    v_collection text;
    v_rkey text;
    v_cid bytea;
    v_count bigint;
    v_deleted bigint := 0;
BEGIN
    -- Held to the end, so that two who purge do not get into each other's way. Nobody purges an account that lives.
    PERFORM 1 FROM account_deletion d WHERE d.account_id = p_account AND NOT d.rows_gone FOR UPDATE;
    IF NOT FOUND OR EXISTS (SELECT FROM account a WHERE a.id = p_account) THEN
        RETURN 0;
    END IF;

    SELECT t.collection, t.rkey INTO v_collection, v_rkey
    FROM record t WHERE t.account_id = p_account ORDER BY t.collection, t.rkey OFFSET p_limit - 1 LIMIT 1;
    DELETE FROM record t
    WHERE t.account_id = p_account AND (t.collection, t.rkey) <= (coalesce(v_collection, '~'), coalesce(v_rkey, '~'));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;

    SELECT t.collection, t.rkey INTO v_collection, v_rkey
    FROM backlink t WHERE t.account_id = p_account ORDER BY t.collection, t.rkey OFFSET p_limit - 1 LIMIT 1;
    DELETE FROM backlink t
    WHERE t.account_id = p_account AND (t.collection, t.rkey) <= (coalesce(v_collection, '~'), coalesce(v_rkey, '~'));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;

    SELECT t.cid INTO v_cid
    FROM mst_node t WHERE t.account_id = p_account ORDER BY t.cid OFFSET p_limit - 1 LIMIT 1;
    DELETE FROM mst_node t WHERE t.account_id = p_account AND t.cid <= coalesce(v_cid, '\xff');
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;

    SELECT t.cid, t.collection, t.rkey INTO v_cid, v_collection, v_rkey
    FROM record_blob t WHERE t.account_id = p_account
    ORDER BY t.cid, t.collection, t.rkey OFFSET p_limit - 1 LIMIT 1;
    DELETE FROM record_blob t
    WHERE t.account_id = p_account
        AND (t.cid, t.collection, t.rkey)
            <= (coalesce(v_cid, '\xff'), coalesce(v_collection, '~'), coalesce(v_rkey, '~'));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;

    SELECT t.collection INTO v_collection
    FROM repo_collection t WHERE t.account_id = p_account ORDER BY t.collection OFFSET p_limit - 1 LIMIT 1;
    DELETE FROM repo_collection t WHERE t.account_id = p_account AND t.collection <= coalesce(v_collection, '~');
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;

    IF v_deleted = 0 THEN
        UPDATE account_deletion SET rows_gone = true WHERE account_id = p_account;
    END IF;
    RETURN v_deleted;
END
$$;
COMMENT ON FUNCTION account_purge_v1 IS 'owner: common::lifecycle';

-- Deletes the events of deleted accounts from seq `p_from` to before `p_to`, and notes how far they came; gives how many.
--
-- The log has no index by account, which every write would have to keep up: this reads all of it once, some at a time,
-- for as many accounts as there are.
CREATE FUNCTION event_purge_v1(p_accounts bigint[], p_from bigint, p_to bigint) RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    v_deleted bigint;
BEGIN
    DELETE FROM repo_event e
    USING account_deletion d
    WHERE e.seq >= p_from AND e.seq < p_to
        AND e.account_id = ANY (p_accounts)
        AND d.account_id = e.account_id AND NOT (e.kind = '#account' AND e.body = d.event);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    UPDATE account_deletion SET events_to = p_to WHERE account_id = ANY (p_accounts) AND events_to < p_to;
    RETURN v_deleted;
END
$$;
COMMENT ON FUNCTION event_purge_v1 IS 'owner: common::lifecycle';

-- Whose time is up. Not built concurrently: few accounts are in it, and the table is read through once, in some seconds.
SET LOCAL lock_timeout = '5s';
CREATE INDEX account_delete_after_idx ON account (delete_after) WHERE delete_after IS NOT NULL;
