/** A large repository that moves in by importRepo, verified with the official library. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cidForLex } from '@atproto/lex-cbor';
import { verifyRepoCar } from '@atproto/repo';

import { agentFor, assertRefused, signUp } from '../lib/client.js';
import { verifySync } from '../lib/commit-proof.js';
import { Directory } from '../lib/directory.js';
import { isCommit, subjectOf, Subscription } from '../lib/firehose.js';
import { servers } from '../lib/servers.js';
import { foreignArchive } from '../lib/stack.js';

const POST = 'app.bsky.feed.post';
const RECORDS = 100_000;
const CAR = { encoding: 'application/vnd.ipld.car' };

const [here, there] = [servers.pds[0], servers.pds.at(-1)].map((origin) => agentFor(origin));
const directory = new Directory(servers.plc);

// The official library takes its time to verify so many records.
test(`a repository of ${RECORDS} records is imported whole and re-signed`, { timeout: 600_000 }, async () => {
  const { did } = await signUp(here, 'import');
  await here.post({ text: 'what was there before' });
  const subscription = await Subscription.open(servers.pds.at(-1));
  const archive = await foreignArchive(did, RECORDS);
  await here.com.atproto.repo.importRepo(archive, CAR);

  const signingKey = await directory.signingKey(did);
  const { data: exported } = await there.com.atproto.sync.getRepo({ did });
  const { creates, commit } = await verifyRepoCar(exported, did, signingKey);
  const found = creates.map(({ collection, rkey, cid }) => [`${collection}/${rkey}`, cid.toString()]);
  assert.deepEqual(new Map(found), await expectedRecords());

  const { data: latest } = await there.com.atproto.sync.getLatestCommit({ did });
  assert.deepEqual(latest, { cid: commit.cid.toString(), rev: commit.rev });
  const { data: last } = await there.com.atproto.repo.listRecords({ repo: did, collection: POST, limit: 1 });
  assert.equal(last.records[0].uri, `at://${did}/${POST}/${rkey(RECORDS - 1)}`);

  const after = await here.post({ text: 'what came after' });
  const frames = await subscription.readUntil(isCommit(after.commit.rev));
  const [sync, next] = frames.filter((frame) => subjectOf(frame) === did);
  assert.deepEqual([sync.type, sync.body.rev, next.type, next.body.since], ['#sync', latest.rev, '#commit', latest.rev]);
  assert.equal(await verifySync(sync.body, signingKey), next.body.prevData.toString());
  await subscription.close();
});

test('an archive of another repository is refused, and the account goes on', async () => {
  const { did } = await signUp(here, 'import');
  const { did: other } = await signUp(there, 'import');
  const archive = await foreignArchive(did, 10);
  await assertRefused(there.com.atproto.repo.importRepo(archive, CAR), 400, 'InvalidRequest', new RegExp(did));
  await assertRefused(here.com.atproto.repo.importRepo(archive.subarray(0, -1), CAR), 400, 'InvalidRequest');
  for (const [agent, repo] of [[here, did], [there, other]]) {
    await agent.post({ text: 'still here' });
    const { data } = await agent.com.atproto.repo.listRecords({ repo, collection: POST });
    assert.equal(data.records.length, 1);
  }
});

/** Record path → CID of every record of the archive, computed here. */
async function expectedRecords() {
  const records = new Map();
  for (let number = 0; number < RECORDS; number++) {
    const text = `post ${number} ${'x'.repeat(130)}`;
    const cid = await cidForLex({ $type: POST, createdAt: '2024-01-01T00:00:00.000Z', text });
    records.set(`${POST}/${rkey(number)}`, cid.toString());
  }
  return records;
}

function rkey(number) {
  return String(number).padStart(13, '0');
}
