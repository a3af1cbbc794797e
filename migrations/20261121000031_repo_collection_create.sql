-- Which collections a repo has: what com.atproto.sync.listReposByCollection reads. A row is there while the repo has a
-- record in the collection. Commits say when that begins and ends; all others do not touch this table.
CREATE TABLE repo_collection (
    account_id bigint NOT NULL,
    collection text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, collection)
);
COMMENT ON TABLE repo_collection IS 'owner: common::repo';

CREATE INDEX repo_collection_collection_idx ON repo_collection (collection, account_id);

INSERT INTO repo_collection (account_id, collection)
SELECT DISTINCT account_id, collection FROM record;
