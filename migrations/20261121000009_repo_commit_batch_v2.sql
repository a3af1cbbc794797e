-- A replica that lost several races for a repo may reserve its next commit for itself, for a moment.
ALTER TABLE repo ADD COLUMN turn_writer bigint, ADD COLUMN turn_until timestamptz;

-- Applies a batch of chains of commits: one call, one transaction, one flush of the log.
--
-- A chain is one or more commits of a repo, each on top of the one before. It is a compare-and-swap on the repo's head, and
-- applied whole or not at all; what its commits write and take back among themselves is not stored in between. No two
-- chains of a batch are of the same repo. What belongs to a chain comes in flat arrays; `*_chain` is the 1-based place of
-- the chain an element belongs to, `p_reference_record` the 1-based place of the record that refers to a blob.
-- `p_record_rewritten`: a commit of the chain found the record there. `p_blob_*`: what its commits refer to, also if a later
-- one takes it back. `p_collection_gained`: the repo's first record in the collection came, or else its last one went.
-- `p_writer` is the replica that asks. Returns one row a chain, in no particular order:
--   verdict 'applied', or 'head_moved', 'busy', 'no_repo', 'deactivated', 'takendown', 'blob_missing' and nothing changed.
--   'busy': another transaction holds the repo, or it is another writer's turn. 'blob_missing': a blob is not there, is
--   taken down, or is held by another transaction.
--   'applied_before' if the repo's head is the chain's last commit already: a caller that lost the answer asks again.
--
-- Lock order, here and everywhere: repo rows, then blob rows, then the sequencer row. This function waits for the last
-- only. Whoever changes whether an account may write locks its repo row first; so no commit is numbered behind the #account event that
-- forbids it.
-- The SET clauses are worth a factor of 3 to 50: without them every statement is planned again at each call, and the
-- arrays are hash-joined with whole tables.
CREATE FUNCTION repo_commit_batch_v2(
    p_writer bigint,
    p_account bigint[],
    p_expected bytea[],
    p_head bytea[],
    p_rev text[],
    p_root bytea[],
    p_commit_block bytea[],
    p_growth bigint[],
    p_event_chain integer[],
    p_event bytea[],
    p_record_chain integer[],
    p_record_collection text[],
    p_record_rkey text[],
    p_record_rev text[],
    p_record_cid bytea[],
    p_record_value bytea[],
    p_record_target text[],
    p_record_rewritten boolean[],
    p_reference_record integer[],
    p_reference_cid bytea[],
    p_blob_chain integer[],
    p_blob_cid bytea[],
    p_dropped_record_chain integer[],
    p_dropped_record_collection text[],
    p_dropped_record_rkey text[],
    p_collection_chain integer[],
    p_collection_name text[],
    p_collection_gained boolean[],
    p_node_chain integer[],
    p_node_cid bytea[],
    p_node_rev text[],
    p_node_bytes bytea[],
    p_dropped_node_chain integer[],
    p_dropped_node_cid bytea[]
) RETURNS TABLE (ordinal integer, verdict text)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_verdict text[] := array_fill('no_repo'::text, ARRAY[cardinality(p_account)]);
    v_locked bigint[];
    v_applied integer[] := '{}';
    v_blobs bigint[];
    v_now timestamptz := clock_timestamp();
    v_row record;
BEGIN
    -- A held row is skipped: whoever waits for it would hold up the whole batch, and all writers of its replica. A
    -- statement of its own, so that what is read below is read after the locks are held.
    SELECT coalesce(array_agg(held.account_id), '{}') INTO v_locked
    FROM (
        SELECT r.account_id
        FROM unnest(p_account) AS c (account_id)
        JOIN repo r ON r.account_id = c.account_id
        FOR UPDATE OF r SKIP LOCKED
    ) AS held;

    FOR v_row IN
        SELECT
            c.ordinal, r.account_id = ANY (v_locked) AS locked, r.head = c.expected AS unmoved, r.head = c.head AS present,
            a.takedown_ref, a.deactivated_at,
            coalesce(r.turn_until > v_now AND r.turn_writer <> p_writer, false) AS reserved
        FROM unnest(p_account, p_expected, p_head) WITH ORDINALITY AS c (account_id, expected, head, ordinal)
        JOIN repo r ON r.account_id = c.account_id
        JOIN account a ON a.id = c.account_id
    LOOP
        IF NOT v_row.locked THEN
            v_verdict[v_row.ordinal] := 'busy';
        ELSIF v_row.present THEN
            v_verdict[v_row.ordinal] := 'applied_before';
        ELSIF v_row.takedown_ref IS NOT NULL THEN
            v_verdict[v_row.ordinal] := 'takendown';
        ELSIF v_row.deactivated_at IS NOT NULL THEN
            v_verdict[v_row.ordinal] := 'deactivated';
        ELSIF NOT v_row.unmoved THEN
            v_verdict[v_row.ordinal] := 'head_moved';
        ELSIF v_row.reserved THEN
            v_verdict[v_row.ordinal] := 'busy';
        ELSE
            v_verdict[v_row.ordinal] := 'applied';
            v_applied := v_applied || v_row.ordinal::integer;
        END IF;
    END LOOP;

    IF cardinality(p_blob_chain) > 0 THEN
        -- Locked, so that nobody deletes a blob that a record is about to refer to.
        SELECT coalesce(array_agg(held.place), '{}') INTO v_blobs
        FROM (
            SELECT w.place
            FROM unnest(p_blob_chain, p_blob_cid) WITH ORDINALITY AS w (ordinal, cid, place)
            JOIN blob b ON b.account_id = p_account[w.ordinal] AND b.cid = w.cid
            WHERE w.ordinal = ANY (v_applied) AND b.takedown_ref IS NULL
            FOR SHARE OF b SKIP LOCKED
        ) AS held;
        FOR v_row IN
            SELECT DISTINCT w.ordinal
            FROM unnest(p_blob_chain) WITH ORDINALITY AS w (ordinal, place)
            WHERE w.ordinal = ANY (v_applied) AND w.place <> ALL (v_blobs)
        LOOP
            v_verdict[v_row.ordinal] := 'blob_missing';
            v_applied := array_remove(v_applied, v_row.ordinal);
        END LOOP;
    END IF;

    IF cardinality(v_applied) > 0 THEN
        IF cardinality(p_dropped_record_chain) > 0 THEN
            DELETE FROM record t
            USING unnest(p_dropped_record_chain, p_dropped_record_collection, p_dropped_record_rkey)
                AS d (ordinal, collection, rkey)
            WHERE d.ordinal = ANY (v_applied)
                AND t.account_id = p_account[d.ordinal] AND t.collection = d.collection AND t.rkey = d.rkey;
            DELETE FROM backlink t
            USING unnest(p_dropped_record_chain, p_dropped_record_collection, p_dropped_record_rkey)
                AS d (ordinal, collection, rkey)
            WHERE d.ordinal = ANY (v_applied)
                AND t.account_id = p_account[d.ordinal] AND t.collection = d.collection AND t.rkey = d.rkey;
            DELETE FROM record_blob t
            USING unnest(p_dropped_record_chain, p_dropped_record_collection, p_dropped_record_rkey)
                AS d (ordinal, collection, rkey)
            WHERE d.ordinal = ANY (v_applied)
                AND t.account_id = p_account[d.ordinal] AND t.collection = d.collection AND t.rkey = d.rkey;
        END IF;

        IF cardinality(p_record_chain) > 0 THEN
            -- A taken-down record stays taken down when its owner writes it again.
            INSERT INTO record (account_id, collection, rkey, cid, rev, value, indexed_at)
            SELECT p_account[w.ordinal], w.collection, w.rkey, w.cid, w.rev, w.value, v_now
            FROM unnest(p_record_chain, p_record_collection, p_record_rkey, p_record_rev, p_record_cid, p_record_value)
                AS w (ordinal, collection, rkey, rev, cid, value)
            WHERE w.ordinal = ANY (v_applied)
            ON CONFLICT (account_id, collection, rkey) DO UPDATE
            SET cid = excluded.cid, rev = excluded.rev, value = excluded.value, indexed_at = excluded.indexed_at;

            -- No target: a record of a kind that has none. An empty one: an update that took the target away.
            IF cardinality(array_remove(p_record_target, NULL)) > 0 THEN
                INSERT INTO backlink (account_id, collection, rkey, target)
                SELECT p_account[w.ordinal], w.collection, w.rkey, w.target
                FROM unnest(p_record_chain, p_record_collection, p_record_rkey, p_record_target)
                    AS w (ordinal, collection, rkey, target)
                WHERE w.ordinal = ANY (v_applied) AND w.target IS NOT NULL
                ON CONFLICT (account_id, collection, rkey) DO UPDATE SET target = excluded.target;
            END IF;

            -- What is written anew refers to what its new version says.
            IF true = ANY (p_record_rewritten) THEN
                DELETE FROM record_blob t
                USING unnest(p_record_chain, p_record_collection, p_record_rkey, p_record_rewritten)
                    AS w (ordinal, collection, rkey, rewritten)
                WHERE w.rewritten AND w.ordinal = ANY (v_applied)
                    AND t.account_id = p_account[w.ordinal] AND t.collection = w.collection AND t.rkey = w.rkey;
            END IF;
        END IF;

        IF cardinality(p_blob_chain) > 0 THEN
            INSERT INTO record_blob (account_id, cid, collection, rkey, rev)
            SELECT
                p_account[p_record_chain[w.record]], w.cid, p_record_collection[w.record], p_record_rkey[w.record],
                p_record_rev[w.record]
            FROM unnest(p_reference_record, p_reference_cid) AS w (record, cid)
            WHERE p_record_chain[w.record] = ANY (v_applied);

            UPDATE blob t
            SET state = 'permanent'
            FROM unnest(p_blob_chain, p_blob_cid) AS w (ordinal, cid)
            WHERE w.ordinal = ANY (v_applied)
                AND t.account_id = p_account[w.ordinal] AND t.cid = w.cid AND t.state = 'temporary';
        END IF;

        IF cardinality(p_collection_chain) > 0 THEN
            DELETE FROM repo_collection t
            USING unnest(p_collection_chain, p_collection_name, p_collection_gained) AS c (ordinal, name, gained)
            WHERE NOT c.gained AND c.ordinal = ANY (v_applied)
                AND t.account_id = p_account[c.ordinal] AND t.collection = c.name;

            INSERT INTO repo_collection (account_id, collection)
            SELECT p_account[c.ordinal], c.name
            FROM unnest(p_collection_chain, p_collection_name, p_collection_gained) AS c (ordinal, name, gained)
            WHERE c.gained AND c.ordinal = ANY (v_applied)
            ON CONFLICT DO NOTHING;
        END IF;

        IF cardinality(p_dropped_node_chain) > 0 THEN
            DELETE FROM mst_node t
            USING unnest(p_dropped_node_chain, p_dropped_node_cid) AS d (ordinal, cid)
            WHERE d.ordinal = ANY (v_applied) AND t.account_id = p_account[d.ordinal] AND t.cid = d.cid;
        END IF;

        INSERT INTO mst_node (account_id, cid, rev, bytes)
        SELECT p_account[n.ordinal], n.cid, n.rev, n.bytes
        FROM unnest(p_node_chain, p_node_cid, p_node_rev, p_node_bytes) AS n (ordinal, cid, rev, bytes)
        WHERE n.ordinal = ANY (v_applied);

        UPDATE repo t
        SET head = c.head, rev = c.rev, root = c.root, commit_block = c.commit_block,
            record_count = t.record_count + c.growth, turn_writer = NULL, turn_until = NULL
        FROM unnest(p_account, p_head, p_rev, p_root, p_commit_block, p_growth) WITH ORDINALITY
            AS c (account_id, head, rev, root, commit_block, growth, ordinal)
        WHERE c.ordinal = ANY (v_applied) AND t.account_id = c.account_id;

        PERFORM event_append_v1(
            array_agg(p_account[e.ordinal] ORDER BY e.n),
            array_fill('#commit'::text, ARRAY[count(*)::integer]),
            array_agg(e.body ORDER BY e.n)
        )
        FROM unnest(p_event_chain, p_event) WITH ORDINALITY AS e (ordinal, body, n)
        WHERE e.ordinal = ANY (v_applied);
    END IF;

    RETURN QUERY SELECT v.ordinal::integer, v.verdict FROM unnest(v_verdict) WITH ORDINALITY AS v (verdict, ordinal);
END
$$;
COMMENT ON FUNCTION repo_commit_batch_v2 IS 'owner: common::repo';
