-- From where accounts were signed in to lately. Whoever signs in from there again is not kept out by what strangers have
-- used up of the limits of the account's name.
CREATE TABLE sign_in_address (
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- A keyed hash of account and address: without the key nobody learns an address from it, nor whether two accounts had
    -- the same.
    mark bytea NOT NULL,
    signed_in_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, mark)
);
COMMENT ON TABLE sign_in_address IS 'owner: common::session';

CREATE INDEX sign_in_address_signed_in_at_idx ON sign_in_address (signed_in_at);
