-- Replaces a repo by the one that import `p_import` has loaded: the end of importRepo, all or nothing.
--
-- A compare-and-swap on the repo's head like any commit, and in the same lock order: the repo row, then the sequencer row,
-- which is taken last. Gives 'applied', or one of the following and changes nothing: 'applied_before' if the head is this
-- commit already (a caller that lost the answer asks again), 'head_moved', 'no_repo', 'takendown', 'superseded' if the
-- claim is another's by now, 'incomplete' if not all that was loaded is still there.
--
-- Every row gets the new rev: to a reader who has the repo as of an older one, all of it is new. A record that a moderator
-- took down stays so if the import has it too. `#sync` tells the stream that the repo starts anew, if the account is active;
-- for one that is not, its activation will.
CREATE FUNCTION repo_import_finish_v1(
    p_import bigint,
    p_account bigint,
    p_expected bytea,
    p_head bytea,
    p_rev text,
    p_root bytea,
    p_commit_block bytea,
    p_records bigint,
    p_nodes bigint,
    p_event bytea
) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    v_head bytea;
    v_account record;
    v_now timestamptz := clock_timestamp();
BEGIN
    SELECT r.head INTO v_head FROM repo r WHERE r.account_id = p_account FOR UPDATE;
    IF v_head IS NULL THEN
        RETURN 'no_repo';
    ELSIF v_head = p_head THEN
        RETURN 'applied_before';
    END IF;

    -- Read after the lock is held.
    SELECT a.takedown_ref, a.deactivated_at INTO v_account FROM account a WHERE a.id = p_account;
    IF v_account.takedown_ref IS NOT NULL THEN
        RETURN 'takendown';
    ELSIF v_head <> p_expected THEN
        RETURN 'head_moved';
    END IF;

    -- Locked, so that nobody takes over or cleans up what is about to be moved.
    PERFORM 1 FROM repo_import i WHERE i.account_id = p_account AND i.id = p_import FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'superseded';
    ELSIF (SELECT count(*) FROM repo_import_record s WHERE s.import_id = p_import) <> p_records
        OR (SELECT count(*) FROM repo_import_node s WHERE s.import_id = p_import) <> p_nodes
    THEN
        RETURN 'incomplete';
    END IF;

    INSERT INTO record (account_id, collection, rkey, cid, rev, value, indexed_at)
    SELECT p_account, s.collection, s.rkey, s.cid, p_rev, s.value, v_now
    FROM repo_import_record s
    WHERE s.import_id = p_import
    ON CONFLICT (account_id, collection, rkey) DO UPDATE
    SET cid = excluded.cid, rev = excluded.rev, value = excluded.value, indexed_at = excluded.indexed_at;
    DELETE FROM record t WHERE t.account_id = p_account AND t.rev <> p_rev;

    DELETE FROM repo_collection t WHERE t.account_id = p_account;
    INSERT INTO repo_collection (account_id, collection)
    SELECT DISTINCT p_account, s.collection FROM repo_import_record s WHERE s.import_id = p_import;

    INSERT INTO mst_node (account_id, cid, rev, bytes)
    SELECT p_account, s.cid, p_rev, s.bytes FROM repo_import_node s WHERE s.import_id = p_import
    ON CONFLICT (account_id, cid) DO UPDATE SET rev = excluded.rev;
    DELETE FROM mst_node t WHERE t.account_id = p_account AND t.rev <> p_rev;

    DELETE FROM backlink t WHERE t.account_id = p_account;
    INSERT INTO backlink (account_id, collection, rkey, target)
    SELECT p_account, s.collection, s.rkey, s.target
    FROM repo_import_record s
    WHERE s.import_id = p_import AND s.target IS NOT NULL;

    -- Whoever deletes blobs locks them first and then looks for references.
    PERFORM 1
    FROM blob b
    WHERE b.account_id = p_account AND b.cid IN (SELECT s.cid FROM repo_import_blob s WHERE s.import_id = p_import)
    FOR SHARE OF b;
    UPDATE blob b
    SET state = 'permanent'
    WHERE b.account_id = p_account AND b.state = 'temporary'
        AND b.cid IN (SELECT s.cid FROM repo_import_blob s WHERE s.import_id = p_import);
    DELETE FROM record_blob t WHERE t.account_id = p_account;
    INSERT INTO record_blob (account_id, cid, collection, rkey, rev)
    SELECT p_account, s.cid, s.collection, s.rkey, p_rev FROM repo_import_blob s WHERE s.import_id = p_import;

    UPDATE repo
    SET head = p_head, rev = p_rev, root = p_root, commit_block = p_commit_block, record_count = p_records
    WHERE account_id = p_account;

    IF v_account.deactivated_at IS NULL THEN
        PERFORM event_append_v1(ARRAY[p_account], ARRAY['#sync'], ARRAY[p_event]);
    END IF;
    RETURN 'applied';
END
$$;
COMMENT ON FUNCTION repo_import_finish_v1 IS 'owner: common::repo';
