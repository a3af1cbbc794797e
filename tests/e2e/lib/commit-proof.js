/** Verifies firehose messages as a relay does that keeps no repository of its own. */
import assert from 'node:assert/strict';

import { cborDecode } from '@atproto/lex-cbor';
import { MemoryBlockstore, MST, readCarWithRoot, verifyCommitSig } from '@atproto/repo';

import { treeRoot } from './repo.js';

const MAX_OPS = 200;
const MAX_COMMIT_BLOCKS_BYTES = 2_000_000;
const MAX_SYNC_BLOCKS_BYTES = 10_000;

/**
 * Checks a #commit body against itself and the account's key: hashes, signature, a proof for each operation, and that
 * undoing the operations on the enclosed blocks gives the previous tree.
 *
 * @param {Record<string, any>} event
 * @param {string} signingKey did:key of the repo
 * @returns {Promise<string>} root CID of the commit's tree
 */
export async function verifyCommit(event, signingKey) {
  assert.ok(event.ops.length <= MAX_OPS);
  assert.ok(event.blocks.length <= MAX_COMMIT_BLOCKS_BYTES);
  assert.deepEqual([event.rebase, event.tooBig, event.blobs], [false, false, []]);
  const { root, blocks } = await readCarWithRoot(event.blocks);
  assert.equal(root.toString(), event.commit.toString());
  const commit = await verifySignedCommit(blocks.get(root), event.repo, event.rev, signingKey);
  const tree = MST.load(new MemoryBlockstore(blocks), commit.data);
  for (const op of event.ops) await verifyOperation(op, tree, blocks);
  const before = await (await undo(event.ops, tree)).getPointer();
  assert.equal(
    before.toString(),
    event.prevData?.toString() ?? (await treeRoot([])),
    'undone operations give prevData',
  );
  return commit.data.toString();
}

/**
 * Checks a #sync body: nothing but the signed commit block.
 *
 * @returns {Promise<string>} root CID of the commit's tree
 */
export async function verifySync(event, signingKey) {
  assert.ok(event.blocks.length <= MAX_SYNC_BLOCKS_BYTES);
  const { root, blocks } = await readCarWithRoot(event.blocks);
  assert.equal(blocks.size, 1);
  return (await verifySignedCommit(blocks.get(root), event.did, event.rev, signingKey)).data.toString();
}

async function verifySignedCommit(block, did, rev, signingKey) {
  const commit = cborDecode(block);
  assert.deepEqual(Object.keys(commit).sort(), ['data', 'did', 'prev', 'rev', 'sig', 'version']);
  assert.deepEqual({ did, rev, version: 3, prev: null }, pick(commit, ['did', 'rev', 'version', 'prev']));
  assert.ok(await verifyCommitSig(commit, signingKey), `the commit ${rev} is signed with the key of ${did}`);
  return commit;
}

async function verifyOperation({ action, path, cid, prev }, tree, blocks) {
  assert.equal(String(await tree.get(path)), String(cid), `the tree proves ${action} ${path}`);
  assert.equal(cid === null, action === 'delete');
  assert.equal(prev === undefined, action === 'create');
  if (cid) assert.ok(blocks.has(cid), `the record ${path} is enclosed`);
}

async function undo(ops, tree) {
  for (const { action, path, prev } of ops.toReversed()) {
    if (action === 'create') tree = await tree.delete(path);
    else if (action === 'update') tree = await tree.update(path, prev);
    else tree = await tree.add(path, prev);
  }
  return tree;
}

function pick(object, keys) {
  return Object.fromEntries(keys.map((key) => [key, object[key]]));
}
