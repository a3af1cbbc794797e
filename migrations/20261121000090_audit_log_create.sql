-- What operators and moderators did. Entries are only ever added: what one says stays said.

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- 'admin' (the operator's password), the DID of a moderation service, or 'command:' and a user of the operating system.
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    -- What it was done to: a DID, the at:// address of a record, '<did>/blobs/<cid>', an invitation code, or 'server'.
    subject text COLLATE "C" NOT NULL,
    -- The account concerned, if there is one.
    did text COLLATE "C",
    -- An act in one transaction has one entry, 'done', written in it. Any other has one before it begins and one after.
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('begun', 'done', 'failed')),
    begun_id bigint REFERENCES audit_log (id),
    -- What changed, without secrets.
    before jsonb,
    after jsonb,
    -- Why it failed.
    reason text
);
COMMENT ON TABLE audit_log IS 'owner: common::audit';

-- Each with the id, which is the order of the list.
CREATE INDEX audit_log_did_idx ON audit_log (did, id) WHERE did IS NOT NULL;
CREATE INDEX audit_log_subject_idx ON audit_log (subject, id);
CREATE INDEX audit_log_actor_idx ON audit_log (actor, id);

CREATE FUNCTION audit_log_refuse_v1() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit_log_refuse_v1 IS 'owner: common::audit';

CREATE TRIGGER audit_log_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse_v1();
