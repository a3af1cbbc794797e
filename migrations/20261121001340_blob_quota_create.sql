-- How many blobs accounts may have, and have.

-- Accounts that may have more, or fewer, than the settings say. No limit where there is NULL.
CREATE TABLE blob_quota (
    account_id bigint PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    max_bytes bigint CHECK (max_bytes >= 0),
    max_count bigint CHECK (max_count >= 0)
);
COMMENT ON TABLE blob_quota IS 'owner: common::blob';

-- What is stored for an account. No row where there is nothing. It outlives the account, as its blobs do for a while.
CREATE TABLE blob_usage (
    account_id bigint PRIMARY KEY,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    count bigint NOT NULL CHECK (count >= 0)
) WITH (fillfactor = 70);
COMMENT ON TABLE blob_usage IS 'owner: common::blob';

-- Accounts have few blobs yet, or none. Uploads that come in from here on wait, so that each is counted once: below, or by the trigger.
LOCK TABLE blob IN SHARE ROW EXCLUSIVE MODE;

CREATE FUNCTION blob_added_v1() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO blob_usage AS u (account_id, bytes, count)
    SELECT account_id, sum(size), count(*)
    FROM added
    GROUP BY account_id
    -- In one order, whoever counts: none waits for another that waits for it.
    ORDER BY account_id
    ON CONFLICT (account_id) DO UPDATE SET bytes = u.bytes + excluded.bytes, count = u.count + excluded.count;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION blob_added_v1 IS 'owner: common::blob';
CREATE TRIGGER blob_added AFTER INSERT ON blob
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION blob_added_v1();

CREATE FUNCTION blob_removed_v1() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM blob_usage
    WHERE account_id IN (SELECT account_id FROM removed)
    ORDER BY account_id
    FOR UPDATE;
    UPDATE blob_usage u
    -- Whatever else went wrong with these numbers: nobody's blobs stay for it.
    SET bytes = greatest(u.bytes - r.bytes, 0), count = greatest(u.count - r.count, 0)
    FROM (SELECT account_id, sum(size) AS bytes, count(*) AS count FROM removed GROUP BY account_id) r
    WHERE u.account_id = r.account_id;
    DELETE FROM blob_usage WHERE count = 0 AND account_id IN (SELECT account_id FROM removed);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION blob_removed_v1 IS 'owner: common::blob';
CREATE TRIGGER blob_removed AFTER DELETE ON blob
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION blob_removed_v1();

INSERT INTO blob_usage (account_id, bytes, count)
SELECT account_id, sum(size), count(*) FROM blob GROUP BY account_id;
