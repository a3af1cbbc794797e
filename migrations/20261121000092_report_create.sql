-- What users report to moderators. Kept here, so that no report is lost while the service that handles them is away.

CREATE TABLE report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Who reports. A DID, so that the report outlives the account.
    reported_by text COLLATE "C" NOT NULL,
    reason_type text COLLATE "C" NOT NULL,
    reason text,
    -- An account; of a record also its address, and the CID of the version that was seen.
    subject_did text COLLATE "C" NOT NULL,
    subject_uri text COLLATE "C",
    subject_cid text COLLATE "C",
    -- What the client says of itself: JSON.
    mod_tool text,
    created_at timestamptz NOT NULL,
    CHECK ((subject_uri IS NULL) = (subject_cid IS NULL))
);
COMMENT ON TABLE report IS 'owner: common::report';

CREATE INDEX report_subject_did_idx ON report (subject_did, id);
