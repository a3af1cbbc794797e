-- Signing keys, sealed: useless to whoever has the database alone.

CREATE TABLE signing_key (
    account_id bigint PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- The public half as did:key, for checks that need no secret.
    public_key text COLLATE "C" NOT NULL,
    -- Which key-encryption key sealed it.
    kek_id text COLLATE "C" NOT NULL,
    -- Nonce and ciphertext with tag, AES-256-GCM; the DID is the associated data.
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE signing_key IS 'owner: common::keys';
