/** What owners change about their accounts, and how every replica and the stream tell it. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { agentFor, alternatingAgent, assertRefused, logIn, newEmail, newHandle, PASSWORD, signUp } from '../lib/client.js';
import { Directory } from '../lib/directory.js';
import { describeFrame, replay, subjectOf } from '../lib/firehose.js';
import { Mailbox } from '../lib/mailbox.js';
import { Mirror } from '../lib/mirror.js';
import { servers } from '../lib/servers.js';

const POST = 'app.bsky.feed.post';
const [first, second] = servers.pds;
const readers = servers.pds.map((origin) => agentFor(origin));
const directory = new Directory(servers.plc);
const marker = alternatingAgent(servers.pds);

before(() => signUp(marker, 'marker'));

/** Asserts that both replicas tell the same of an account, that it is true, and that this is it. */
async function assertTold(did, expected) {
  for (const origin of servers.pds) {
    const log = await replay(origin, async () => (await marker.post({ text: 'marker' })).commit.rev);
    const frames = log.filter((frame) => subjectOf(frame) === did);
    assert.deepEqual(frames.map(describeFrame), expected);
    const mirror = new Mirror(directory);
    for (const frame of frames) await mirror.apply(frame);
  }
}

const signedUp = (handle) => [`#identity ${handle}`, '#account active', '#commit', '#sync'];

test('a new handle is known everywhere, and the old one is free for others', async () => {
  const agent = agentFor(first);
  const { did, handle: old } = await signUp(agent, 'before');
  const handle = newHandle('after');
  await agent.updateHandle({ handle: handle.toUpperCase() });
  assert.equal((await directory.identity(did)).handle, handle);
  for (const reader of readers) {
    assert.equal((await reader.resolveHandle({ handle })).data.did, did);
    await assertRefused(reader.resolveHandle({ handle: old }), 400, 'HandleNotFound');
    const { data } = await reader.com.atproto.repo.describeRepo({ repo: handle });
    assert.deepEqual([data.did, data.handle, data.handleIsCorrect], [did, handle, true]);
  }
  assert.equal((await logIn(second, handle)).session.handle, handle);
  await assertTold(did, [...signedUp(old), `#identity ${handle}`]);

  const other = agentFor(second);
  const { data } = await other.createAccount({ handle: old, email: newEmail(), password: PASSWORD });
  assert.equal((await readers[0].resolveHandle({ handle: old })).data.did, data.did);
  const taken = /Handle already taken/;
  await assertRefused(other.updateHandle({ handle }), 400, 'HandleNotAvailable', taken);
  await assertRefused(agent.updateHandle({ handle: old }), 400, 'HandleNotAvailable', taken);
  await assertRefused(agent.updateHandle({ handle: 'admin.test' }), 400, 'HandleNotAvailable', /Reserved/);
});

test('a deactivated account is hidden until its owner activates it', async () => {
  const agent = agentFor(first);
  const { did, handle } = await signUp(agent, 'pause');
  await agent.post({ text: 'before' });
  await agent.com.atproto.server.deactivateAccount({});
  for (const reader of readers) {
    await assertRefused(reader.com.atproto.sync.getRepo({ did }), 400, 'RepoDeactivated');
    await assertRefused(reader.com.atproto.sync.getLatestCommit({ did }), 400, 'RepoDeactivated');
    const { data } = await reader.com.atproto.sync.getRepoStatus({ did });
    assert.deepEqual(data, { did, active: false, status: 'deactivated' });
    await assertRefused(reader.resolveHandle({ handle }), 400, 'HandleNotFound');
  }
  const there = await logIn(second, handle);
  assert.deepEqual([there.session.active, there.session.status], [false, 'deactivated']);
  for (const session of [agent, there]) {
    await assertRefused(session.post({ text: 'not now' }), 401, 'AccountDeactivated');
  }
  await there.com.atproto.server.activateAccount();
  await agent.post({ text: 'after' });
  const { data } = await readers[1].com.atproto.repo.listRecords({ repo: handle, collection: POST });
  assert.equal(data.records.length, 2);
  const closed = ['#commit', '#account deactivated'];
  const opened = ['#account active', `#identity ${handle}`, '#sync', '#commit'];
  await assertTold(did, [...signedUp(handle), ...closed, ...opened]);
});

test('an e-mail address is confirmed, changed and used to reset the password', async () => {
  const agent = alternatingAgent(servers.pds);
  const { handle, email: old } = await signUp(agent, 'mail');
  const { server } = agent.com.atproto;
  const state = async () => {
    const { data } = await server.getSession();
    return [data.email, data.emailConfirmed];
  };
  const mailbox = new Mailbox(servers.mail, old);
  await server.requestEmailConfirmation();
  const confirmation = await mailbox.next();
  assert.equal(confirmation.subject, 'Email Confirmation');
  assert.ok(confirmation.text.includes(handle));
  const confirm = (email) => server.confirmEmail({ email, token: confirmation.code.toLowerCase() });
  await assertRefused(confirm(newEmail()), 400, 'InvalidEmail');
  await confirm(old);
  assert.deepEqual(await state(), [old, true]);
  await assertRefused(confirm(old), 400, 'InvalidToken');

  const email = newEmail();
  assert.deepEqual((await server.requestEmailUpdate()).data, { tokenRequired: true });
  const { code } = await mailbox.next();
  await assertRefused(server.updateEmail({ email }), 400, 'TokenRequired');
  await server.updateEmail({ email: email.toUpperCase(), token: code });
  assert.deepEqual(await state(), [email, false]);
  assert.deepEqual((await server.requestEmailUpdate()).data, { tokenRequired: false });
  await assertRefused(logIn(first, old), 401, 'AuthenticationRequired');

  const appPassword = (await server.createAppPassword({ name: 'phone' })).data.password;
  await readers[0].com.atproto.server.requestPasswordReset({ email });
  const { code: token, subject } = await new Mailbox(servers.mail, email).next();
  assert.equal(subject, 'Password Reset Requested');
  const password = 'a new battery staple';
  await readers[1].com.atproto.server.resetPassword({ token, password });
  await assertRefused(readers[0].com.atproto.server.resetPassword({ token, password }), 400, 'InvalidToken');
  for (const origin of servers.pds) {
    await assertRefused(logIn(origin, email, PASSWORD), 401, 'AuthenticationRequired');
    await logIn(origin, email, password);
    await (await logIn(origin, handle, appPassword)).post({ text: 'from the phone' });
  }
  await assertRefused(server.refreshSession(undefined, bearer(agent.session.refreshJwt)), 400, 'ExpiredToken');
});

function bearer(token) {
  return { headers: { authorization: `Bearer ${token}` } };
}
