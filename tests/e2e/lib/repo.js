/** Reads and verifies exported repositories. */
import assert from 'node:assert/strict';

import { stringifyLex } from '@atproto/api';
import { cidForLex } from '@atproto/lex-cbor';
import { lexParse } from '@atproto/lex-json';
import { MemoryBlockstore, MST, readCarWithRoot, Repo, verifyRepoCar } from '@atproto/repo';

/**
 * @typedef {object} RepoExport
 * @property {Repo} repo the commit and its tree, over the exported blocks
 * @property {Map<string, string>} records record path → CID
 */

/**
 * Exports a repo from the agent's replica and verifies it: the signature by `signingKey`, every block's hash, that no
 * block is missing or superfluous, and that the tree has the one shape its keys allow.
 *
 * @returns {Promise<RepoExport>}
 */
export async function exportRepo(agent, did, signingKey) {
  const { data: car } = await agent.com.atproto.sync.getRepo({ did });
  const { creates, commit } = await verifyRepoCar(car, did, signingKey);
  const { blocks, root } = await readCarWithRoot(car);
  assert.equal(blocks.size, commit.newBlocks.size, 'the export holds only blocks of the repo');
  const records = new Map(creates.map((write) => [`${write.collection}/${write.rkey}`, write.cid.toString()]));
  const repo = await Repo.load(new MemoryBlockstore(blocks), root);
  assert.equal(repo.commit.data.toString(), await treeRoot(creates), 'the tree is in its canonical shape');
  return { repo, records };
}

/**
 * Lists every record through the XRPC API, checking that each value hashes to the CID it is listed with.
 *
 * @returns {Promise<Map<string, string>>} record path → CID
 */
export async function listRepo(agent, did) {
  const records = new Map();
  const { data } = await agent.com.atproto.repo.describeRepo({ repo: did });
  for (const collection of data.collections) {
    for (const { uri, cid, value } of await listCollection(agent, did, collection)) {
      assert.equal((await cidOf(value)).toString(), cid, uri);
      records.set(uri.slice(`at://${did}/`.length), cid);
    }
  }
  return records;
}

/** All records of a collection, newest key first, read in small pages so that the cursor is exercised. */
export async function listCollection(agent, repo, collection, options = {}) {
  const records = [];
  let cursor;
  do {
    const page = await agent.com.atproto.repo.listRecords({ repo, collection, limit: 7, cursor, ...options });
    records.push(...page.data.records);
    cursor = page.data.cursor;
  } while (cursor);
  return records;
}

/** Asserts that every replica exports the same, verified repo and lists exactly its records. */
export async function assertReplicasAgree(agents, did, signingKey) {
  const exports = await Promise.all(agents.map((agent) => exportRepo(agent, did, signingKey)));
  const listings = await Promise.all(agents.map((agent) => listRepo(agent, did)));
  for (const { repo, records } of exports) {
    assert.equal(repo.cid.toString(), exports[0].repo.cid.toString());
    for (const listing of listings) assert.deepEqual(sorted(listing), sorted(records));
  }
  return exports[0];
}

/** Root CID of the tree that these keys and values must give. */
export async function treeRoot(entries) {
  let tree = await MST.create(new MemoryBlockstore());
  for (const { collection, rkey, cid } of entries) tree = await tree.add(`${collection}/${rkey}`, cid);
  return (await tree.getPointer()).toString();
}

/** CID of a record as the client returns it, in which blob references are instances of a class of the client's. */
function cidOf(value) {
  return cidForLex(lexParse(stringifyLex(value)));
}

function sorted(map) {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
