-- Codes that went out by e-mail: who knows one reads the account's mail.
CREATE TABLE email_token (
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    purpose text COLLATE "C" NOT NULL,
    -- In clear, because another process writes the mail. It is good for minutes, and once.
    token text COLLATE "C" NOT NULL,
    -- SHA-256 of purpose and token: what a token is looked up by, so that no comparison tells how much of one is right.
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, purpose)
);
COMMENT ON TABLE email_token IS 'owner: common::account';

CREATE UNIQUE INDEX email_token_digest_key ON email_token (digest);
CREATE INDEX email_token_expires_at_idx ON email_token (expires_at);
