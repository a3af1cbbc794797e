-- Refresh tokens of password sessions. A row is a token that may still be used once, or again within its grace period.

CREATE TABLE refresh_token (
    id text COLLATE "C" PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    -- Id of the token that replaced this one, fixed at the first use so that repeated refreshes give the same token.
    next_id text COLLATE "C",
    app_password_name text COLLATE "C"
);
COMMENT ON TABLE refresh_token IS 'owner: common::session';

CREATE INDEX refresh_token_account_id_idx ON refresh_token (account_id);
