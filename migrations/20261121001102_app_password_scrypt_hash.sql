-- App passwords that came here from the reference server, as that stored them, until their first use here.
ALTER TABLE app_password
    ALTER COLUMN digest DROP NOT NULL,
    ADD COLUMN scrypt_hash text COLLATE "C",
    ADD CONSTRAINT app_password_hash_check CHECK (digest IS NOT NULL OR scrypt_hash IS NOT NULL) NOT VALID;
COMMENT ON COLUMN app_password.digest IS
'SHA-256 of DID and password. A password of 80 random bits cannot be guessed, so it needs no slow hash.';
COMMENT ON COLUMN app_password.scrypt_hash IS
'<salt>:<hash>, both in hexadecimal; the salt follows from the DID. Null once there is a digest.';
