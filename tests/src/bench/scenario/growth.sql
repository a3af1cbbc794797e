-- Fills up to :accounts accounts with copies of one that has an empty repository: signing up so many would take hours.
-- Columns that are not named here are copied, whatever they are. Nobody can sign in to a copy or write to it.

CREATE TEMP TABLE model AS
SELECT account.id, (SELECT max(id) FROM account) AS last, (SELECT count(*) FROM account) AS there
FROM account
JOIN repo ON repo.account_id = account.id
ORDER BY repo.record_count, account.id DESC
LIMIT 1;

CREATE TEMP TABLE copy AS
SELECT model.id AS model, model.last + n AS id, translate(left(md5((model.last + n)::text), 24), '0189', 'wxyz') AS name
FROM model, generate_series(1, :accounts - model.there) AS n;

INSERT INTO account OVERRIDING SYSTEM VALUE
SELECT made.*
FROM copy
JOIN account ON account.id = copy.model
CROSS JOIN jsonb_populate_record(account, jsonb_build_object(
    'id', copy.id,
    'did', 'did:plc:' || copy.name,
    'handle', copy.name || '.test',
    'email', copy.name || '@example.com'
)) AS made;
SELECT setval(pg_get_serial_sequence('account', 'id'), (SELECT max(id) FROM account));

INSERT INTO signing_key
SELECT made.*
FROM copy
JOIN signing_key ON signing_key.account_id = copy.model
CROSS JOIN jsonb_populate_record(signing_key, jsonb_build_object('account_id', copy.id)) AS made;

INSERT INTO repo
SELECT made.*
FROM copy
JOIN repo ON repo.account_id = copy.model
CROSS JOIN jsonb_populate_record(repo, jsonb_build_object('account_id', copy.id)) AS made;

INSERT INTO mst_node
SELECT made.*
FROM copy
JOIN mst_node ON mst_node.account_id = copy.model
CROSS JOIN jsonb_populate_record(mst_node, jsonb_build_object('account_id', copy.id)) AS made;

ANALYZE account, signing_key, repo, mst_node;
