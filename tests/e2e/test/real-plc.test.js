/**
 * With the directory that the network uses, which checks every operation it is sent: accounts that come, change, leave, and
 * one that moves from the reference server to two replicas and back, with all that is its own.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import plc from '@did-plc/lib';

import {
  agentFor,
  alternatingAgent,
  assertRefused,
  logIn,
  newEmail,
  newHandle,
  PASSWORD,
  signUp,
} from '../lib/client.js';
import { verifyCommit, verifySync } from '../lib/commit-proof.js';
import { eventually } from '../lib/deadline.js';
import { Directory } from '../lib/directory.js';
import { describeFrame, replay, subjectOf, Subscription } from '../lib/firehose.js';
import { Mailbox } from '../lib/mailbox.js';
import { copyContent, enter, handOver, leave, settle } from '../lib/migration.js';
import { Mirror } from '../lib/mirror.js';
import { startPlc } from '../lib/plc.js';
import { startReference } from '../lib/reference.js';
import { assertReplicasAgree, exportRepo } from '../lib/repo.js';
import { startStack } from '../lib/stack.js';
import { Watcher } from '../lib/watcher.js';

const PROFILE = 'app.bsky.actor.profile';
const PREFERENCES = [
  { $type: 'app.bsky.actor.defs#adultContentPref', enabled: false },
  { $type: 'app.bsky.actor.defs#personalDetailsPref', birthDate: '1990-01-02T00:00:00.000Z' },
  { $type: 'app.bsky.actor.defs#feedViewPref', feed: 'home', hideReposts: true },
];
// The smallest picture there is: one pixel.
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
// Installing the reference server compiles for some minutes on a slow machine.
const INSTALL = { timeout: 2_400_000 };
const MIGRATION = { timeout: 600_000 };
// A worker looks once a minute for events of accounts that are gone; a replica may remember them for another one.
const PURGE = { timeout: 600_000 };
/** The steps of a move, all together. */
const MOVES = { timeout: 1_500_000 };
const PURGE_MS = 480_000;
/** Each look writes a commit and reads the whole log. */
const PURGE_POLL_MS = 3_000;

let directoryServer;
let directory;
let stack;
let reference;
let readers;
/** The DID of the account that was deleted. */
let leaver;

before(async () => {
  directoryServer = await startPlc();
  directory = new Directory(directoryServer.url);
  stack = await startStack({ plcUrl: directory.url });
  readers = stack.pds.map((origin) => agentFor(origin));
  reference = await startReference({ plcUrl: directory.url, smtpUrl: stack.smtp });
}, INSTALL);

after(async () => {
  await reference?.stop();
  await stack?.stop();
  await directoryServer?.stop();
});

test('a deleted account is gone for everybody, and keeps its DID', async () => {
  const agent = alternatingAgent(stack.pds);
  const { did, handle, email } = await signUp(agent, 'leaver');
  await agent.post({ text: 'soon to be gone' });
  const operations = await directory.operations(did);
  const relay = new Mirror(directory);
  const live = await Subscription.open(stack.pds[1], { cursor: 0 });

  await agent.com.atproto.server.requestAccountDelete();
  const { code: token, subject } = await new Mailbox(stack.mail, email).next();
  assert.equal(subject, 'Account Deletion Requested');
  const remove = (password) => readers[0].com.atproto.server.deleteAccount({ did, password, token });
  await assertRefused(remove('not the password'), 401, 'AuthenticationRequired');
  await remove(PASSWORD);

  const told = await live.readUntil((frame) => describeFrame(frame) === '#account deleted');
  await live.close();
  for (const frame of told) {
    await relay.apply(frame);
    if (frame.type === '#commit' && frame.body.repo === did) assert.ok(relay.repos.has(did));
  }
  assert.ok(!relay.repos.has(did));
  assert.equal(subjectOf(told.at(-1)), did);
  for (const reader of readers) {
    await assertRefused(reader.com.atproto.sync.getRepo({ did }), 400, 'RepoNotFound');
    await assertRefused(reader.com.atproto.sync.getRepoStatus({ did }), 400, 'RepoNotFound');
    await assertRefused(reader.resolveHandle({ handle }), 400, 'HandleNotFound');
    const { data } = await reader.com.atproto.sync.listRepos({ limit: 1000 });
    assert.ok(data.repos.every((repo) => repo.did !== did));
    await assertRefused(reader.login({ identifier: handle, password: PASSWORD }), 401, 'AuthenticationRequired');
  }
  await assert.rejects(agent.post({ text: 'from beyond' }), (error) => [400, 401, 403].includes(error.status));
  assert.deepEqual(await directory.operations(did), operations);
  const { data } = await agentFor(stack.pds[1]).createAccount({ handle, email, password: PASSWORD });
  assert.notEqual(data.did, did);
  leaver = did;
});

test('sign up, post and rename, all recorded by the directory', async () => {
  const [first, second] = stack.pds;
  const agent = agentFor(first);
  const account = await signUp(agent, 'real');
  const { signingKey, handle, pds } = await directory.identity(account.did);
  assert.deepEqual([handle, pds], [account.handle, agent.pdsUrl.origin]);
  await plc.assureValidCreationOp(account.did, await directory.lastOperation(account.did));

  await (await logIn(second, account.handle)).post({ text: 'hello, directory' });
  const { records } = await assertReplicasAgree(readers, account.did, signingKey);
  assert.equal(records.size, 1);

  const renamed = newHandle('renamed');
  await (await logIn(second, account.handle)).updateHandle({ handle: renamed });
  assert.equal((await directory.identity(account.did)).handle, renamed);
  const operations = await directory.operations(account.did);
  assert.equal(operations.length, 2);
  const data = await plc.validateOperationLog(account.did, operations);
  assert.deepEqual(data.alsoKnownAs, [`at://${renamed}`]);
  await assertReplicasAgree(readers, account.did, signingKey);
});

describe('an account of the reference server', MOVES, () => {
  const traveller = { handle: newHandle('mover'), email: newEmail(), password: PASSWORD };
  const stranger = () => agentFor(reference.origin);
  let mailbox;
  /** The owner, at the reference server and here. */
  let away;
  let here;
  /** What the world sees of the two. */
  let there;
  let home;
  /** What must not get lost. */
  let luggage;
  /** The repo as it came, as it was when it left, and the key that signed both. */
  let arrived;
  let left;
  let hereKey;

  before(async () => {
    mailbox = new Mailbox(stack.mail, traveller.email);
    [away, here] = [stranger(), alternatingAgent(stack.pds)];
    there = await Watcher.start(reference.origin, directory.url);
    home = await Watcher.start(stack.pds[1], directory.url);
  });

  after(async () => {
    await Promise.all([there?.stop(), home?.stop()]);
  });

  test('has posts, a profile with a picture, and preferences', async () => {
    const { data } = await away.createAccount(traveller);
    const did = (traveller.did = data.did);
    const { data: picture } = await away.uploadBlob(PICTURE, { encoding: 'image/png' });
    await away.upsertProfile(() => ({ displayName: 'Mover', avatar: picture.blob }));
    for (const text of ['one', 'two']) await away.post({ text });
    const last = await away.post({ text: 'three' });
    await away.app.bsky.actor.putPreferences({ preferences: PREFERENCES });
    const relay = new Mirror(directory);
    for (const frame of await there.until(last)) await relay.apply(frame);
    const { records } = await exportRepo(stranger(), did, await directory.signingKey(did));
    assert.equal(records.size, 4);
    const blobs = [{ cid: picture.blob.ref.toString(), recordUri: `at://${did}/${PROFILE}/self` }];
    luggage = { records, blobs, preferences: await preferencesOf(away) };
  });

  test('moves in, unseen until it is complete', MIGRATION, async () => {
    const { did, handle } = traveller;
    const status = async () => {
      const { data } = await here.com.atproto.server.checkAccountStatus();
      assert.deepEqual([data.indexedRecords, data.expectedBlobs, data.importedBlobs], [4, 1, 1]);
      return { activated: data.activated, validDid: data.validDid };
    };
    await enter(traveller, away, here);
    assert.deepEqual(await copyContent(traveller, away, here), luggage.blobs);
    assert.deepEqual(await preferencesOf(here), luggage.preferences);
    assert.deepEqual(await missingBlobs(here), []);
    assert.deepEqual(await status(), { activated: false, validDid: false });
    await assertClosed(here, stack.pds);
    await assertRefused(here.com.atproto.server.activateAccount(), 400, 'InvalidRequest');

    const operation = await handOver(away, here, mailbox);
    assert.deepEqual(await status(), { activated: false, validDid: true });
    await settle(away, here);
    assert.deepEqual(await status(), { activated: true, validDid: true });
    await assertIdentity(traveller, stack.pds[0], operation);
    await assertClosed(away, [reference.origin]);
    for (const reader of readers) assert.equal((await reader.resolveHandle({ handle })).data.did, did);
    hereKey = await directory.signingKey(did);
    arrived = await assertReplicasAgree(readers, did, hereKey);
    assert.deepEqual(arrived.records, luggage.records);
  });

  test('goes on here', async () => {
    await home.until(await here.post({ text: 'home' }));
    left = await assertReplicasAgree(readers, traveller.did, hereKey);
    assert.equal(left.records.size, 5);
    await assertPicture(readers);
  });

  test('moves back, to a server that has forgotten it', MIGRATION, async () => {
    const { did } = traveller;
    await seenClosing(there);
    await leave(traveller, away, mailbox);
    away = stranger();
    await enter(traveller, here, away);
    assert.deepEqual(await copyContent(traveller, here, away), luggage.blobs);
    assert.deepEqual(await preferencesOf(away), luggage.preferences);
    assert.deepEqual(await missingBlobs(away), []);
    const operation = await handOver(here, away, mailbox);
    await settle(here, away);
    await assertIdentity(traveller, reference.origin, operation);
    await assertClosed(here, stack.pds);

    await assertPicture([stranger()]);
    // The reference server signs a repo that moved in only when it writes to it.
    const last = await away.post({ text: 'back' });
    const { body: commit } = (await there.until(last)).at(-1);
    const key = await directory.signingKey(did);
    assert.notEqual(key, hereKey);
    await verifyCommit(commit, key);
    assert.equal(commit.prevData.toString(), left.repo.commit.data.toString());
    const { records } = await exportRepo(stranger(), did, key);
    assert.deepEqual(new Map([...records].filter(([path]) => !last.uri.endsWith(path))), left.records);
  });

  test('is announced on both sides in the order of the facts', async () => {
    const { did, handle } = traveller;
    await seenClosing(home);
    await leave(traveller, here, mailbox);
    const isMine = (frame) => subjectOf(frame) === did;
    const isLast = (frame) => isMine(frame) && describeFrame(frame) === '#account deleted';
    const told = (await home.stream.readUntil(isLast)).filter(isMine);
    const signUp = [`#identity ${handle}`, '#account active', '#commit', '#sync'];
    const moveIn = ['#identity', '#account active', `#identity ${handle}`, '#sync', '#commit'];
    const moveOut = ['#account deactivated', '#account deleted'];
    assert.deepEqual(told.map(describeFrame), [...moveIn, ...moveOut]);
    const toldThere = there.stream.frames.filter(isMine).map(describeFrame);
    assert.deepEqual(toldThere, [...signUp, ...Array(4).fill('#commit'), ...moveOut, ...moveIn]);

    const [sync, commit] = [told[3].body, told[4].body];
    const { rev, data } = arrived.repo.commit;
    assert.deepEqual([sync.rev, await verifySync(sync, hereKey)], [rev, data.toString()]);
    await verifyCommit(commit, hereKey);
    assert.deepEqual([commit.since, commit.prevData.toString()], [rev, data.toString()]);
  });

  /** Asserts that everybody sees the picture that came along. */
  async function assertPicture(readers) {
    const [{ cid }] = luggage.blobs;
    for (const reader of readers) {
      const { data } = await reader.com.atproto.sync.getBlob({ did: traveller.did, cid });
      assert.deepEqual(Buffer.from(data), PICTURE);
    }
  }

  /** Waits until a subscriber was told of the account's closing, which its deletion may take out of the log. */
  function seenClosing({ stream }) {
    const isMine = (frame) => subjectOf(frame) === traveller.did;
    return stream.readUntil((frame) => isMine(frame) && describeFrame(frame) === '#account deactivated');
  }

  /** Asserts that a server shows nobody the repo, and that its owner cannot write to it there. */
  async function assertClosed(owner, origins) {
    const { did } = traveller;
    for (const reader of origins.map((origin) => agentFor(origin))) {
      await assertRefused(reader.com.atproto.sync.getRepo({ did }), 400, 'RepoDeactivated');
      const { data } = await reader.com.atproto.sync.getRepoStatus({ did });
      assert.deepEqual(data, { did, active: false, status: 'deactivated' });
    }
    await assertRefused(owner.post({ text: 'not here' }), 401, 'AccountDeactivated');
  }
});

async function preferencesOf(agent) {
  return (await agent.app.bsky.actor.getPreferences()).data.preferences;
}

async function missingBlobs(agent) {
  return (await agent.com.atproto.repo.listMissingBlobs()).data.blobs;
}

/** Asserts that DID document and directory name this server and handle, by a valid chain of operations. */
async function assertIdentity({ did, handle }, origin, lastOperation) {
  const identity = await directory.identity(did);
  assert.deepEqual([identity.handle, identity.pds], [handle, origin]);
  const operations = await directory.operations(did);
  await plc.validateOperationLog(did, operations);
  assert.deepEqual(operations.at(-1), lastOperation);
}

test('the past of a deleted account is forgotten', PURGE, async () => {
  const marker = alternatingAgent(stack.pds);
  await signUp(marker, 'marker');
  const mark = async () => (await marker.post({ text: 'marker' })).commit.rev;
  for (const origin of stack.pds) {
    await eventually(
      async () => {
        const left = (await replay(origin, mark)).filter((frame) => subjectOf(frame) === leaver).map(describeFrame);
        assert.equal(left.at(-1), '#account deleted');
        return left.length === 1 || undefined;
      },
      PURGE_MS,
      `${origin} to forget the events of a deleted account`,
      PURGE_POLL_MS,
    );
  }
});
