/** Repository exports and proofs, verified with the key in the account's DID document. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { readCar, verifyDiffCar, verifyProofs, verifyRecords } from '@atproto/repo';
import { parseCid } from '@atproto/lex-data';

import { agentFor, alternatingAgent, assertRefused, recordKey, signUp } from '../lib/client.js';
import { Directory } from '../lib/directory.js';
import { assertReplicasAgree, exportRepo } from '../lib/repo.js';
import { servers } from '../lib/servers.js';

const POST = 'app.bsky.feed.post';
const readers = servers.pds.map((origin) => agentFor(origin));
const directory = new Directory(servers.plc);
const writer = alternatingAgent(servers.pds);
let did;
let signingKey;

/** Enough records for a tree of several levels. */
before(async () => {
  ({ did } = await signUp(writer, 'sync'));
  signingKey = await directory.signingKey(did);
  for (let batch = 0; batch < 4; batch++) {
    const writes = Array.from({ length: 40 }, (_, i) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: POST,
      value: { $type: POST, text: `post ${batch}.${i}`, createdAt: new Date().toISOString() },
    }));
    await writer.com.atproto.repo.applyWrites({ repo: did, writes });
  }
  await writer.upsertProfile(() => ({ displayName: 'Sync' }));
});

test('every replica exports the same repo, and it holds what the API lists', async () => {
  const { repo, records } = await assertReplicasAgree(readers, did, signingKey);
  assert.equal(records.size, 161);
  for (const reader of readers) {
    const { data } = await reader.com.atproto.sync.getLatestCommit({ did });
    assert.deepEqual(data, { cid: repo.cid.toString(), rev: repo.commit.rev });
  }
});

test('the export of an account without records is one empty tree', async () => {
  const empty = await signUp(agentFor(servers.pds[0]), 'empty');
  const { repo, records } = await exportRepo(readers[1], empty.did, await directory.signingKey(empty.did));
  assert.equal(records.size, 0);
  assert.equal(repo.commit.prev, null);
});

test('an export since a revision brings an older copy up to date', async () => {
  const { repo: copy } = await exportRepo(readers[0], did, signingKey);
  const added = await writer.post({ text: 'added since' });
  const removed = await writer.post({ text: 'removed since' });
  await writer.deletePost(removed.uri);
  for (const reader of readers) {
    const { data: car } = await reader.com.atproto.sync.getRepo({ did, since: copy.commit.rev });
    const { writes, commit } = await verifyDiffCar(copy, car, did, signingKey);
    assert.deepEqual(
      writes.map(({ action, rkey }) => [action, rkey]),
      [['create', recordKey(added.uri)]],
    );
    const { data: head } = await reader.com.atproto.sync.getLatestCommit({ did });
    assert.deepEqual({ cid: commit.cid.toString(), rev: commit.rev }, head);
  }
});

test('sync.getRecord proves a record', async () => {
  const { uri, cid } = await writer.post({ text: 'proven' });
  const rkey = recordKey(uri);
  const { cid: otherCid } = await writer.post({ text: 'another' });
  for (const reader of readers) {
    const { data: car } = await reader.com.atproto.sync.getRecord({ did, collection: POST, rkey });
    const [right, wrong, none] = [cid, otherCid, null].map((claimed) => {
      return { collection: POST, rkey, cid: claimed && parseCid(claimed) };
    });
    const proofs = await verifyProofs(car, [right, wrong, none], did, signingKey);
    assert.deepEqual(proofs, { verified: [right], unverified: [wrong, none] });
    const records = await verifyRecords(car, did, signingKey);
    assert.equal(records.find((record) => record.rkey === rkey).record.text, 'proven');
  }
});

test('sync.getRecord proves that there is no such record', async () => {
  const absent = ['2222222222222', 'never-written', 'zzzzzzzzzzzzz'].map((rkey) => ({ collection: POST, rkey }));
  absent.push({ collection: 'com.example.nothing', rkey: 'self' });
  for (const key of absent) {
    const claim = { ...key, cid: null };
    for (const reader of readers) {
      const { data: car } = await reader.com.atproto.sync.getRecord({ did, ...key });
      assert.deepEqual(await verifyProofs(car, [claim], did, signingKey), { verified: [claim], unverified: [] });
    }
  }
});

test('getBlocks serves the blocks asked for', async () => {
  const { repo, records } = await exportRepo(readers[0], did, signingKey);
  const cids = [repo.commit.data.toString(), ...[...records.values()].slice(0, 3)];
  for (const reader of readers) {
    const { roots, blocks } = await readCar((await reader.com.atproto.sync.getBlocks({ did, cids })).data);
    // The reference names no root here, other servers the current commit; the lexicon leaves it open.
    for (const root of roots) assert.equal(root.toString(), repo.cid.toString());
    for (const cid of cids) assert.ok(blocks.has(parseCid(cid)), cid);
  }
  const unknown = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a';
  await assertRefused(readers[1].com.atproto.sync.getBlocks({ did, cids: [unknown] }), 400, 'InvalidRequest');
});

test('an unknown account has no repo', async () => {
  const nobody = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa';
  const { sync } = readers[1].com.atproto;
  await assertRefused(sync.getRepo({ did: nobody }), 400, 'RepoNotFound');
  await assertRefused(sync.getLatestCommit({ did: nobody }), 400, 'RepoNotFound');
  await assertRefused(sync.getRepoStatus({ did: nobody }), 400, 'RepoNotFound');
});

test('listRepos names every account once, with its head', async () => {
  const { did: newest } = await signUp(agentFor(servers.pds[0]), 'newest');
  const listings = await Promise.all(readers.map((reader) => listRepos(reader, newest)));
  assert.deepEqual(listings[0], listings[1]);
  const dids = listings[0].map((repo) => repo.did);
  assert.equal(new Set(dids).size, dids.length);
  const mine = listings[0].find((repo) => repo.did === did);
  const { data: head } = await readers[1].com.atproto.sync.getLatestCommit({ did });
  assert.deepEqual(mine, { did, head: head.cid, rev: head.rev, active: true });
});

/** The accounts up to `last`, in pages of three; later ones may be signing up in another test file meanwhile. */
async function listRepos(reader, last) {
  const repos = [];
  let cursor;
  while (!repos.some((repo) => repo.did === last)) {
    const { data } = await reader.com.atproto.sync.listRepos({ limit: 3, cursor });
    assert.ok(data.repos.length > 0, `${last} is listed`);
    repos.push(...data.repos);
    cursor = data.cursor;
  }
  return repos.slice(0, repos.findIndex((repo) => repo.did === last) + 1);
}
