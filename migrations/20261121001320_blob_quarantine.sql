-- Blobs that nobody needs any more are marked first, and deleted later: until then they come back by themselves as soon
-- as somebody refers to them or uploads them again.

-- When the blob is to be deleted. Only for what no record is known to refer to, which 'temporary' stands for.
ALTER TABLE blob ADD COLUMN delete_after timestamptz CHECK (delete_after IS NULL OR state = 'temporary');

-- Blobs that lost a reference, and when. Whether it was the last, and still is, whoever comes for them finds out.
--
-- Rows are only added by those who write records: they wait for nobody here, and nobody for them. A blob may have several.
CREATE TABLE blob_dereference (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    cid bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE blob_dereference IS 'owner: common::blob';
CREATE INDEX blob_dereference_created_at_idx ON blob_dereference (created_at);
-- The younger ones of a blob.
CREATE INDEX blob_dereference_blob_idx ON blob_dereference (account_id, cid, created_at);

-- Notes which blobs lose references, whoever deletes these: a commit, an import, a repair. The blobs of deleted accounts
-- go another way.
CREATE FUNCTION record_blob_deleted_v1() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO blob_dereference (account_id, cid)
    SELECT DISTINCT g.account_id, g.cid
    FROM gone g
    WHERE EXISTS (SELECT FROM account a WHERE a.id = g.account_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION record_blob_deleted_v1 IS 'owner: common::blob';
CREATE TRIGGER record_blob_deleted AFTER DELETE ON record_blob
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION record_blob_deleted_v1();

-- What a commit refers to is not deleted. If the next commit of the same chain took that back, no reference was ever
-- stored, and none will be deleted: so it is noted here.
CREATE FUNCTION blob_referenced_v1() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.delete_after := NULL;
    IF NOT EXISTS (SELECT FROM record_blob r WHERE r.account_id = NEW.account_id AND r.cid = NEW.cid) THEN
        INSERT INTO blob_dereference (account_id, cid) VALUES (NEW.account_id, NEW.cid);
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION blob_referenced_v1 IS 'owner: common::blob';
CREATE TRIGGER blob_referenced BEFORE UPDATE OF state ON blob
    FOR EACH ROW WHEN (OLD.state = 'temporary' AND NEW.state = 'permanent')
    EXECUTE FUNCTION blob_referenced_v1();
