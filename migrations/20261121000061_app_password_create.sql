-- Further passwords of an account, made by the server, one for each app.
CREATE TABLE app_password (
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    -- SHA-256 of DID and password. A password of 80 random bits cannot be guessed, so it needs no slow hash.
    digest bytea NOT NULL,
    -- Whether it may use direct messages.
    privileged boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    PRIMARY KEY (account_id, name)
);
COMMENT ON TABLE app_password IS 'owner: common::account';

-- A session ends with the app password it was opened with, also one that is being opened while the password goes. No row
-- has a name yet, so there is nothing to validate.
ALTER TABLE refresh_token
    ADD CONSTRAINT refresh_token_app_password_fkey
    FOREIGN KEY (account_id, app_password_name) REFERENCES app_password (account_id, name) ON DELETE CASCADE NOT VALID;
