/** The firehose of two replicas: one stream, every message proven. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { cborDecode } from '@atproto/lex-cbor';
import { BlockMap, blocksToCarFile, readCarWithRoot } from '@atproto/repo';

import { agentFor, alternatingAgent, recordKey, signUp } from '../lib/client.js';
import { verifyCommit } from '../lib/commit-proof.js';
import { Consumer } from '../lib/consumer.js';
import { Directory } from '../lib/directory.js';
import { isCommit, replay, subjectOf, Subscription } from '../lib/firehose.js';
import { Mirror } from '../lib/mirror.js';
import { exportRepo } from '../lib/repo.js';
import { servers } from '../lib/servers.js';

const POST = 'app.bsky.feed.post';
const NOTE = 'com.example.note';
const CHURNED = 48;
const directory = new Directory(servers.plc);
const writer = alternatingAgent(servers.pds);
let did;

/** Every kind of write, spread over the replicas, so that the log holds each kind of operation. */
before(async () => {
  ({ did } = await signUp(writer, 'writer'));
  const { did: friend } = await signUp(agentFor(servers.pds[1]), 'friend');
  const posts = [];
  for (let i = 0; i < 12; i++) posts.push(await writer.post({ text: `post ${i}` }));
  await writer.upsertProfile(() => ({ displayName: 'One' }));
  await writer.upsertProfile(() => ({ displayName: 'Two' }));
  for (let i = 0; i < 2; i++) await writer.like(posts[0].uri, posts[0].cid);
  await writer.deleteFollow((await writer.follow(friend)).uri);
  for (const { uri } of posts.slice(0, 6)) await writer.deletePost(uri);
  await writer.com.atproto.repo.applyWrites({ repo: did, writes: mixedWrites(posts) });
  await churn();
});

/**
 * Grows and shrinks the tree one record at a time, always through the same shapes: the keys are fixed, so a proof that
 * lacks a node fails on every run. Every record occurs several times, so that blocks are shared between keys.
 */
async function churn() {
  const { repo } = writer.com.atproto;
  const key = (i) => ({ repo: did, collection: NOTE, rkey: `note-${(i * 29) % CHURNED}` });
  for (let i = 0; i < CHURNED; i++) await repo.createRecord({ ...key(i), record: { $type: NOTE, text: `${i % 5}` } });
  for (let i = 0; i < CHURNED - 1; i++) await repo.deleteRecord(key(i * 11));
}

function mixedWrites(posts) {
  const write = (action, rest) => ({ $type: `com.atproto.repo.applyWrites#${action}`, collection: POST, ...rest });
  const value = (text) => ({ $type: POST, text, createdAt: '2026-01-02T03:04:05.678Z' });
  return [
    ...Array.from({ length: 30 }, (_, i) => write('create', { value: value(`batch ${i}`) })),
    write('update', { rkey: recordKey(posts[6].uri), value: value('changed') }),
    write('delete', { rkey: recordKey(posts[7].uri) }),
    write('delete', { rkey: recordKey(posts[8].uri) }),
  ];
}

/** Makes a commit and returns its rev, by which a reader knows how far to read. */
async function markerCommit() {
  const record = { $type: POST, text: 'marker', createdAt: new Date().toISOString() };
  const { data } = await writer.com.atproto.repo.createRecord({ repo: did, collection: POST, record });
  return data.commit.rev;
}

/** What a subscriber of `origin` from the beginning sees of one account, up to now. */
async function historyOf(account, origin) {
  return (await replay(origin, markerCommit)).filter((frame) => subjectOf(frame) === account);
}

test('both replicas send the same bytes', async () => {
  const [a, b] = await Promise.all(servers.pds.map((origin) => Subscription.open(origin, { cursor: 0 })));
  const rev = await markerCommit();
  const [left, right] = await Promise.all([a.readUntil(isCommit(rev)), b.readUntil(isCommit(rev))]);
  await Promise.all([a.close(), b.close()]);
  assert.equal(left.length, right.length);
  left.forEach(({ bytes, type, body }, i) => assert.ok(bytes.equals(right[i].bytes), `${type} ${body.seq}`));
});

test('sequence numbers only rise, and every message carries its time', async () => {
  const frames = await replay(servers.pds[0], markerCommit);
  let last = 0;
  for (const { body } of frames) {
    assert.ok(Number.isSafeInteger(body.seq) && body.seq > last, `${body.seq} follows ${last}`);
    last = body.seq;
    assert.match(body.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  }
});

for (const [i, origin] of servers.pds.entries()) {
  test(`replica ${i + 1}: every commit is proven, chained and undoable, and the stream rebuilds the repos`, async () => {
    const mirror = new Mirror(directory);
    for (const frame of await replay(origin, markerCommit)) await mirror.apply(frame);
    const { rev, data, records } = mirror.repos.get(did);
    const { repo, records: exported } = await exportRepo(agentFor(origin), did, await directory.signingKey(did));
    assert.deepEqual([repo.commit.rev, repo.commit.data.toString()], [rev, data]);
    assert.deepEqual(new Map([...records].map(([path, cid]) => [path, cid.toString()])), exported);
  });
}

test('the verification would notice a commit that was tampered with', async () => {
  const { body: event } = (await historyOf(did, servers.pds[0])).find(({ body }) => body.ops?.length === 33);
  const signingKey = await directory.signingKey(did);
  await verifyCommit(event, signingKey);
  const { did: stranger } = await signUp(agentFor(servers.pds[0]), 'stranger');
  await assert.rejects(verifyCommit(event, await directory.signingKey(stranger)), /signed with the key/);
  await assert.rejects(verifyCommit({ ...event, ops: event.ops.slice(1) }, signingKey), /undone operations/);
  const { blocks } = await readCarWithRoot(event.blocks);
  const { data } = cborDecode(blocks.get(event.commit));
  for (const cid of [event.commit, data, ...event.ops.flatMap((op) => op.cid ?? [])]) {
    const rest = new BlockMap([...blocks].filter(([other]) => !other.equals(cid)));
    await assert.rejects(verifyCommit({ ...event, blocks: await blocksToCarFile(event.commit, rest) }, signingKey));
  }
});

test('a commit tells each operation once, deletions of replaced likes first', async () => {
  const commits = (await historyOf(did, servers.pds[1])).filter(({ type }) => type === '#commit');
  const actions = (ops) => ops.map(({ action, path }) => `${action} ${path.split('/')[0]}`);
  const replaced = commits.find(({ body }) => body.ops.length === 2);
  assert.deepEqual(actions(replaced.body.ops), ['delete app.bsky.feed.like', 'create app.bsky.feed.like']);
  const batch = commits.find(({ body }) => body.ops.length === 33);
  assert.equal(new Set(batch.body.ops.map(({ path }) => path)).size, 33);
});

test('the official consumer accepts every commit', async (t) => {
  const rev = await markerCommit();
  const consumer = Consumer.start(servers.pds[1], servers.plc);
  t.after(() => consumer.stop());
  await consumer.until((event) => event.rev === rev);
  const mine = consumer.events.filter((event) => event.did === did).map(({ event }) => event);
  assert.deepEqual(mine.slice(0, 3), ['identity', 'account', 'sync']);
  const count = (kind) => mine.filter((event) => event === kind).length;
  assert.ok(count('create') > 12 + 1 + 2 + 1 + 30 + CHURNED); // markers as well, as many as tests have run
  assert.equal(count('update'), 2);
  assert.equal(count('delete'), 1 + 1 + 6 + 2 + CHURNED - 1);
});

test('sign-up is announced as identity, account, commit and sync', async () => {
  const account = await signUp(agentFor(servers.pds[1]), 'signup');
  const frames = await historyOf(account.did, servers.pds[0]);
  assert.deepEqual(
    frames.map(({ type }) => type),
    ['#identity', '#account', '#commit', '#sync'],
  );
  const [identity, status, commit, sync] = frames.map(({ body }) => body);
  assert.equal(identity.handle, account.handle);
  assert.deepEqual([status.active, status.status], [true, undefined]);
  assert.deepEqual([commit.since, commit.prevData, commit.ops], [null, undefined, []]);
  assert.equal(sync.rev, commit.rev);
});

test('a cursor continues after the message it names, on either replica', async () => {
  const frames = await replay(servers.pds[0], markerCommit);
  const middle = Math.floor(frames.length / 2);
  const subscription = await Subscription.open(servers.pds[1], { cursor: frames[middle].body.seq });
  const rest = await subscription.readUntil(({ body }) => body.seq === frames.at(-1).body.seq);
  await subscription.close();
  assert.deepEqual(
    rest.map(({ body }) => body.seq),
    frames.slice(middle + 1).map(({ body }) => body.seq),
  );
});

test('without a cursor a subscription starts with what happens next', async () => {
  const seen = (await replay(servers.pds[0], markerCommit)).at(-1).body.seq;
  const subscription = await Subscription.open(servers.pds[1]);
  // The server may take up the subscription a moment after the connection stands: write until one commit arrives.
  while (subscription.frames.length === 0) await markerCommit();
  const rev = await markerCommit();
  const frames = await subscription.readUntil(isCommit(rev));
  await subscription.close();
  assert.ok(frames[0].body.seq > seen);
});

test('a cursor in the future is refused', async () => {
  const subscription = await Subscription.open(servers.pds[0], { cursor: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(await subscription.closed(), { code: 1008, reason: 'FutureCursor' });
  const [frame] = subscription.frames;
  assert.deepEqual([frame.op, frame.type, frame.body.error], [-1, undefined, 'FutureCursor']);
});
