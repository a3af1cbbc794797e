-- no-transaction
-- Who has an address at a domain, for operators.
CREATE INDEX CONCURRENTLY IF NOT EXISTS account_email_domain_idx
ON account (split_part(lower(email), '@', 2), lower(email));
