-- DID documents seen lately, shared by all replicas.

CREATE TABLE did_cache (
    did text COLLATE "C" PRIMARY KEY,
    document jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE did_cache IS 'owner: common::identity';
