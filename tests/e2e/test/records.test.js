/** Writing and reading records through a load balancer that sends each request to another replica. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';

import { agentFor, alternatingAgent, assertRefused, logIn, recordKey, signUp } from '../lib/client.js';
import { Directory } from '../lib/directory.js';
import { assertReplicasAgree, listCollection } from '../lib/repo.js';
import { servers } from '../lib/servers.js';

const POST = 'app.bsky.feed.post';
const PROFILE = 'app.bsky.actor.profile';
const CREATED_AT = '2026-01-02T03:04:05.678Z';

const directory = new Directory(servers.plc);
const readers = servers.pds.map((origin) => agentFor(origin));
const post = (text) => ({ $type: POST, text, createdAt: CREATED_AT });

/** Asserts that both replicas give the record this CID, or that both say there is none (`cid` null). */
async function assertRecord(uri, cid) {
  const [repo, collection, rkey] = uri.slice('at://'.length).split('/');
  for (const reader of readers) {
    const read = reader.com.atproto.repo.getRecord({ repo, collection, rkey });
    if (cid === null) await assertRefused(read, 400, 'RecordNotFound');
    else assert.equal((await read).data.cid, cid);
  }
}

/** A new account on the alternating agent, whose repo is verified on both replicas when the test is done. */
async function writer(t, name) {
  const agent = alternatingAgent(servers.pds);
  const { did } = await signUp(agent, name);
  t.after(async () => assertReplicasAgree(readers, did, await directory.signingKey(did)));
  return { agent, did, repo: agent.com.atproto.repo };
}

describe('social records', () => {
  let bob;
  let subject;
  before(async () => {
    const agent = agentFor(servers.pds[1]);
    bob = await signUp(agent, 'bob');
    subject = await agent.post({ text: 'a post to react to' });
  });

  for (const [verb, create, remove] of [
    ['post', (agent) => agent.post({ text: 'hello', langs: ['en'] }), (agent, uri) => agent.deletePost(uri)],
    ['like', (agent) => agent.like(subject.uri, subject.cid), (agent, uri) => agent.deleteLike(uri)],
    ['repost', (agent) => agent.repost(subject.uri, subject.cid), (agent, uri) => agent.deleteRepost(uri)],
    ['follow', (agent) => agent.follow(bob.did), (agent, uri) => agent.deleteFollow(uri)],
    ['block', block, unblock],
  ]) {
    test(`${verb} and take it back`, async (t) => {
      const { agent } = await writer(t, verb);
      const { uri, cid } = await create(agent);
      await assertRecord(uri, cid);
      await remove(agent, uri);
      await assertRecord(uri, null);
    });
  }

  function block(agent) {
    return agent.app.bsky.graph.block.create({ repo: agent.did }, { subject: bob.did, createdAt: CREATED_AT });
  }

  function unblock(agent, uri) {
    return agent.app.bsky.graph.block.delete({ repo: agent.did, rkey: recordKey(uri) });
  }

  test('a second like, repost, follow or block takes the place of the first', async (t) => {
    const { agent, did } = await writer(t, 'twice');
    for (const [collection, create] of [
      ['app.bsky.feed.like', () => agent.like(subject.uri, subject.cid)],
      ['app.bsky.feed.repost', () => agent.repost(subject.uri, subject.cid)],
      ['app.bsky.graph.follow', () => agent.follow(bob.did)],
      ['app.bsky.graph.block', () => block(agent)],
    ]) {
      const [earlier, later] = [await create(), await create()];
      await assertRecord(earlier.uri, null);
      const records = await listCollection(agent, did, collection);
      assert.deepEqual(
        records.map(({ uri }) => uri),
        [later.uri],
      );
    }
  });
});

test('a profile is put, replaced under swapRecord, and removed', async (t) => {
  const { agent, did, repo } = await writer(t, 'profile');
  await agent.upsertProfile((existing) => {
    assert.equal(existing, undefined);
    return { displayName: 'One' };
  });
  const self = { repo: did, collection: PROFILE, rkey: 'self' };
  const { data: one } = await repo.getRecord(self);
  const put = (displayName, swapRecord) =>
    repo.putRecord({ ...self, record: { $type: PROFILE, displayName }, swapRecord });

  const { data: two } = await put('Two', one.cid);
  assert.equal(two.validationStatus, 'valid');
  await assertRefused(put('Three', one.cid), 400, 'InvalidSwap');
  await assertRefused(put('Three', null), 400, 'InvalidSwap');
  const { data: unchanged } = await put('Two');
  assert.deepEqual([unchanged.cid, unchanged.commit], [two.cid, undefined]);

  await assertRefused(repo.deleteRecord({ ...self, swapRecord: one.cid }), 400, 'InvalidSwap');
  await repo.deleteRecord({ ...self, swapRecord: two.cid });
  await assertRecord(`at://${did}/${PROFILE}/self`, null);
  const { data: recreated } = await put('Three', null);
  await assertRecord(recreated.uri, recreated.cid);
});

test('deleting what is not there changes nothing', async (t) => {
  const { did, repo } = await writer(t, 'absent');
  const { data: head } = await readers[0].com.atproto.sync.getLatestCommit({ did });
  const { data } = await repo.deleteRecord({ repo: did, collection: POST, rkey: '3jzfcijpj2z2a' });
  assert.equal(data.commit, undefined);
  assert.deepEqual((await readers[1].com.atproto.sync.getLatestCommit({ did })).data, head);
});

test('records are listed by key, either way, in pages', async (t) => {
  const { did, repo } = await writer(t, 'list');
  const keys = [...'234567abcdefghijk'].map((digit) => `3jzfcijpj2z2${digit}`);
  const write = (rkey) => ({ $type: 'com.atproto.repo.applyWrites#create', collection: POST, rkey, value: post(rkey) });
  await repo.applyWrites({ repo: did, writes: keys.map(write) });

  const listed = async (options) =>
    (await listCollection(readers[1], did, POST, options)).map(({ uri }) => recordKey(uri));
  assert.deepEqual(await listed(), keys.toReversed());
  assert.deepEqual(await listed({ reverse: true }), keys);
  const { data: page } = await readers[0].com.atproto.repo.listRecords({ repo: did, collection: POST, limit: 3 });
  assert.deepEqual(
    page.records.map(({ uri }) => recordKey(uri)),
    keys.slice(-3).reverse(),
  );
  assert.equal(page.cursor, recordKey(page.records.at(-1).uri));
  for (const limit of [0, 101]) {
    await assertRefused(raw(`listRecords?repo=${did}&collection=${POST}&limit=${limit}`), 400, 'InvalidRequest');
  }
});

test('getRecord serves the version asked for, by DID or handle', async (t) => {
  const { agent, did, repo } = await writer(t, 'version');
  const key = { repo: did, collection: PROFILE, rkey: 'self' };
  const put = async (displayName) =>
    (await repo.putRecord({ ...key, record: { $type: PROFILE, displayName } })).data.cid;
  const [old, now] = [await put('old'), await put('now')];
  const byHandle = await repo.getRecord({ ...key, repo: agent.session.handle, cid: now });
  assert.deepEqual([byHandle.data.uri, byHandle.data.value.displayName], [`at://${did}/${PROFILE}/self`, 'now']);
  await assertRefused(repo.getRecord({ ...key, cid: old }), 400, 'RecordNotFound');
});

test('applyWrites makes one commit of creates, updates and deletes', async (t) => {
  const { did, repo } = await writer(t, 'batch');
  const write = (action, rest) => ({ $type: `com.atproto.repo.applyWrites#${action}`, collection: POST, ...rest });
  const [changed, removed] = ['3jzfcijpj2z2a', '3jzfcijpj2z2b'];
  const { data: start } = await repo.applyWrites({
    repo: did,
    writes: [changed, removed].map((rkey) => write('create', { rkey, value: post(rkey) })),
  });
  const { data } = await repo.applyWrites({
    repo: did,
    swapCommit: start.commit.cid,
    writes: [
      write('update', { rkey: changed, value: post('changed') }),
      write('delete', { rkey: removed }),
      write('create', { value: post('without a key') }),
      write('create', { value: post('another') }),
    ],
  });
  assert.deepEqual(
    data.results.map(({ $type }) => $type.split('#')[1]),
    ['updateResult', 'deleteResult', 'createResult', 'createResult'],
  );
  assert.deepEqual(
    data.results.map((result) => result.validationStatus),
    ['valid', undefined, 'valid', 'valid'],
  );
  await assertRecord(data.results[0].uri, data.results[0].cid);
  await assertRecord(`at://${did}/${POST}/${removed}`, null);
  assert.notEqual(data.results[2].uri, data.results[3].uri);
  const { data: head } = await readers[1].com.atproto.sync.getLatestCommit({ did });
  assert.deepEqual({ cid: head.cid, rev: head.rev }, { cid: data.commit.cid, rev: data.commit.rev });
});

test('a batch is refused as a whole', async (t) => {
  const { did, repo } = await writer(t, 'whole');
  const create = (value) => ({ $type: 'com.atproto.repo.applyWrites#create', collection: POST, value });
  const { data: head } = await readers[0].com.atproto.sync.getLatestCommit({ did });
  const apply = (writes) => repo.applyWrites({ repo: did, writes });
  await assertRefused(
    apply([create(post('fine')), create({ $type: POST })]),
    400,
    'InvalidRequest',
    /Invalid app.bsky.feed.post/,
  );
  await assertRefused(apply(Array(201).fill(create(post('many')))), 400, 'InvalidRequest', /Too many writes/);
  assert.deepEqual((await readers[1].com.atproto.sync.getLatestCommit({ did })).data, head);
});

test('swapCommit lets a write through only on the commit it names', async (t) => {
  const { did, repo } = await writer(t, 'swap');
  const { data: head } = await readers[0].com.atproto.sync.getLatestCommit({ did });
  const create = (swapCommit) => repo.createRecord({ repo: did, collection: POST, record: post('swap'), swapCommit });
  const { data } = await create(head.cid);
  await assertRefused(create(head.cid), 400, 'InvalidSwap', new RegExp(data.commit.cid));
  await assertRefused(
    repo.deleteRecord({ repo: did, collection: POST, rkey: recordKey(data.uri), swapCommit: head.cid }),
    400,
    'InvalidSwap',
  );
});

test('validate is absent, true or false', async (t) => {
  const { did, repo } = await writer(t, 'validate');
  const create = (collection, record, validate) => repo.createRecord({ repo: did, collection, record, validate });
  const status = async (...args) => (await create(...args)).data.validationStatus;
  const note = { $type: 'com.example.note', text: 'of a kind no server knows' };

  assert.equal(await status(POST, post('known')), 'valid');
  assert.equal(await status(POST, post('known'), true), 'valid');
  assert.equal(await status(POST, post('known'), false), undefined);
  assert.equal(await status('com.example.note', note), 'unknown');
  assert.equal(await status('com.example.note', note, false), undefined);
  await assertRefused(create('com.example.note', note, true), 400, 'InvalidRequest', /Unknown lexicon type/);

  const broken = { $type: POST, createdAt: CREATED_AT };
  await assertRefused(create(POST, broken), 400, 'InvalidRequest', /Invalid app.bsky.feed.post record/);
  await assertRefused(create(POST, broken, true), 400, 'InvalidRequest', /Invalid app.bsky.feed.post record/);
  assert.equal(await status(POST, broken, false), undefined);
});

test('malformed records are refused even without validation', async (t) => {
  const { did, repo } = await writer(t, 'malformed');
  const create = (collection, record, rest) =>
    repo.createRecord({ repo: did, collection, record, validate: false, ...rest });
  await assertRefused(create(POST, { ...post('x'), $type: PROFILE }), 400, 'InvalidRequest', /Invalid \$type/);
  await assertRefused(create(POST, { ...post('x'), size: 1.5 }), 400, 'InvalidRequest');
  await assertRefused(create(POST, post('x'), { rkey: '..' }), 400, 'InvalidRequest');
  await assertRefused(create('not a collection', post('x')), 400, 'InvalidRequest');
});

test('record keys follow their schema, and a missing $type is filled in', async (t) => {
  const { did, repo } = await writer(t, 'keys');
  const put = (rkey) => repo.putRecord({ repo: did, collection: PROFILE, rkey, record: { displayName: 'Me' } });
  await assertRefused(put('other'), 400, 'InvalidRequest');
  await put('self');
  const { data } = await repo.getRecord({ repo: did, collection: PROFILE, rkey: 'self' });
  assert.equal(data.value.$type, PROFILE);
});

test("nobody writes to another account's repo", async (t) => {
  const { did } = await writer(t, 'owner');
  const intruder = agentFor(servers.pds[1]);
  await signUp(intruder, 'intruder');
  const write = { repo: did, collection: POST, record: post('not mine') };
  await assert.rejects(intruder.com.atproto.repo.createRecord(write), { status: 401 });
  await assertRefused(readers[0].com.atproto.repo.createRecord(write), 401, 'AuthMissing');
});

test('simultaneous writes on both replicas all succeed', async (t) => {
  const { agent, did } = await writer(t, 'parallel');
  const sessions = await Promise.all(servers.pds.map((origin) => logIn(origin, agent.session.handle)));
  const writes = Array.from({ length: 24 }, (_, i) => sessions[i % 2].post({ text: `post ${i}` }));
  const uris = (await Promise.all(writes)).map(({ uri }) => uri);
  const listed = (await listCollection(readers[0], did, POST)).map(({ uri }) => uri);
  assert.deepEqual(listed.toSorted(), uris.toSorted());
});

test('of simultaneous swaps of one record exactly one wins', async (t) => {
  const { agent, did } = await writer(t, 'contest');
  const sessions = await Promise.all(servers.pds.map((origin) => logIn(origin, agent.session.handle)));
  const put = (session, displayName, swapRecord) => {
    const record = { $type: PROFILE, displayName };
    return session.com.atproto.repo.putRecord({ repo: did, collection: PROFILE, rkey: 'self', record, swapRecord });
  };
  const { data: start } = await put(agent, 'start', null);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 6 }, (_, i) => put(sessions[i % 2], `contender ${i}`, start.cid)),
  );
  const winners = outcomes.filter(({ status }) => status === 'fulfilled');
  const losers = outcomes.filter(({ status }) => status === 'rejected');
  assert.deepEqual(
    losers.map(({ reason }) => reason.error),
    Array(5).fill('InvalidSwap'),
  );
  await assertRecord(winners[0].value.data.uri, winners[0].value.data.cid);
});

/** A query without the client's own checks of its parameters. */
async function raw(query) {
  const response = await fetch(new URL(`/xrpc/com.atproto.repo.${query}`, servers.pds[0]));
  if (!response.ok) throw Object.assign(new Error(), { status: response.status, ...(await response.json()) });
  return response.json();
}
