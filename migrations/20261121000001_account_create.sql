-- Accounts: one row is the whole account state.

CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    did text COLLATE "C" NOT NULL,
    handle text COLLATE "C",
    email text COLLATE "C",
    password_hash text COLLATE "C",
    -- Whole milliseconds: listRepos pages by this time, and its cursor has no finer unit.
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    email_confirmed_at timestamptz,
    invites_disabled boolean NOT NULL DEFAULT false,
    deactivated_at timestamptz,
    delete_after timestamptz,
    takedown_ref text
);
COMMENT ON TABLE account IS 'owner: common::account';

CREATE UNIQUE INDEX account_did_key ON account (did);
CREATE UNIQUE INDEX account_handle_key ON account (lower(handle));
CREATE UNIQUE INDEX account_email_key ON account (lower(email));
CREATE INDEX account_created_at_did_idx ON account (created_at, did);

CREATE TABLE invite_code (
    code text COLLATE "C" PRIMARY KEY,
    available_uses integer NOT NULL CHECK (available_uses >= 0),
    disabled boolean NOT NULL DEFAULT false,
    for_account text COLLATE "C" NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE invite_code IS 'owner: common::account';

CREATE INDEX invite_code_for_account_idx ON invite_code (for_account);

CREATE TABLE invite_code_use (
    code text COLLATE "C" NOT NULL REFERENCES invite_code (code),
    used_by bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (code, used_by)
);
COMMENT ON TABLE invite_code_use IS 'owner: common::account';

CREATE INDEX invite_code_use_used_by_idx ON invite_code_use (used_by);
