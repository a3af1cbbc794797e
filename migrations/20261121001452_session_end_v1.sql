-- Ends a session, given any of its tokens, with all that it was exchanged from and for. An unknown token is fine.
CREATE FUNCTION session_end_v1(p_token text) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
    -- Locks the account alone: no session of it is opened or prolonged now.
    PERFORM FROM refresh_token t JOIN account a ON a.id = t.account_id WHERE t.id = p_token FOR UPDATE OF a;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- A statement of its own, so it sees what was prolonged while the one before waited.
    WITH RECURSIVE chain AS (
        SELECT id, account_id, next_id FROM refresh_token WHERE id = p_token
        UNION
        SELECT t.id, t.account_id, t.next_id
        FROM refresh_token t
        JOIN chain c ON t.account_id = c.account_id AND (t.next_id = c.id OR t.id = c.next_id)
    )
    DELETE FROM refresh_token WHERE id IN (SELECT id FROM chain);
END
$$;
COMMENT ON FUNCTION session_end_v1 IS 'owner: common::session';
