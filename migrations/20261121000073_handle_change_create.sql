-- Handles on their way from the PLC directory to the account's row. The row is there before the directory hears of the
-- handle, keeps it free from others, and goes in the statement that stores it. One that stays behind tells of a process
-- that died in between: what the directory says is stored then.
CREATE TABLE handle_change (
    account_id bigint PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    handle text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE handle_change IS 'owner: common::lifecycle';
CREATE UNIQUE INDEX handle_change_handle_key ON handle_change (lower(handle));
CREATE INDEX handle_change_created_at_idx ON handle_change (created_at);

-- Stores an account's handle and tells the stream, in one statement; false if there is no such account. A handle that
-- another account has is a unique violation of account_handle_key. The lock on the repo keeps an activation, which
-- announces the handle as well, from telling an older one.
CREATE FUNCTION account_handle_change_v1(p_account bigint, p_handle text, p_event bytea) RETURNS boolean
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    PERFORM 1 FROM repo r WHERE r.account_id = p_account FOR UPDATE;
    UPDATE account SET handle = p_handle WHERE id = p_account;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM handle_change WHERE account_id = p_account AND handle = p_handle;
    PERFORM event_append_v1(ARRAY[p_account], ARRAY['#identity'], ARRAY[p_event]);
    RETURN true;
END
$$;
COMMENT ON FUNCTION account_handle_change_v1 IS 'owner: common::lifecycle';
