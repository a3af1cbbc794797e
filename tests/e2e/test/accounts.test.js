/** Sign-up, sessions and identity, each step answered by whichever replica is asked. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';

import { Agent, CredentialSession } from '@atproto/api';
import plc from '@did-plc/lib';

import { agentFor, assertRefused, logIn, newEmail, newHandle, PASSWORD, routedFetch, signUp } from '../lib/client.js';
import { Directory } from '../lib/directory.js';
import { servers } from '../lib/servers.js';

const [first, second] = servers.pds;
const directory = new Directory(servers.plc);

test('both replicas describe the same server', async () => {
  const [a, b] = await Promise.all(servers.pds.map((origin) => agentFor(origin).com.atproto.server.describeServer()));
  assert.deepEqual(a.data, b.data);
  assert.match(a.data.did, /^did:web:/);
  assert.ok(a.data.availableUserDomains.includes('.test'));
});

test('sign-up publishes a did:plc that names handle, key and server', async () => {
  const agent = agentFor(first);
  const account = await signUp(agent, 'plc');
  const identity = await directory.identity(account.did);
  assert.equal(identity.handle, account.handle);
  assert.equal(account.didDoc.id, account.did);

  const genesis = await directory.lastOperation(account.did);
  await plc.assureValidCreationOp(account.did, genesis);
  const recommended = await (await logIn(second, account.did)).com.atproto.identity.getRecommendedDidCredentials();
  const { alsoKnownAs, rotationKeys, services, verificationMethods } = genesis;
  assert.deepEqual(recommended.data, { alsoKnownAs, rotationKeys, services, verificationMethods });
  assert.equal(verificationMethods.atproto, identity.signingKey);
  assert.equal(services.atproto_pds.endpoint, identity.pds);
});

test('a handle or e-mail address is given out once', async () => {
  const { handle, email } = await signUp(agentFor(first), 'taken');
  const other = agentFor(second);
  const fresh = { handle: newHandle('fresh'), email: newEmail(), password: PASSWORD };
  await assertRefused(other.createAccount({ ...fresh, handle }), 400, 'InvalidRequest', /Handle already taken/);
  await assertRefused(other.createAccount({ ...fresh, email }), 400, 'InvalidRequest', /Email already taken/);
  await assertRefused(
    other.createAccount({ ...fresh, handle: handle.toUpperCase() }),
    400,
    'InvalidRequest',
    /Handle already taken/,
  );
});

test('sign-up refuses handles that break the rules', async () => {
  const attempt = (handle) => {
    return agentFor(second).createAccount({ handle, email: newEmail(), password: PASSWORD });
  };
  await assertRefused(attempt('ab.test'), 400, 'InvalidHandle', /too short/);
  await assertRefused(attempt('much-too-long-for-a-handle.test'), 400, 'InvalidHandle', /too long/);
  await assertRefused(attempt('two.labels.test'), 400, 'InvalidHandle');
  await assertRefused(attempt('under_score.test'), 400, 'InvalidRequest');
  await assertRefused(attempt('admin.test'), 400, 'HandleNotAvailable', /Reserved handle/);
  await assertRefused(attempt('someone.example.com'), 400, 'UnsupportedDomain');
});

test('of simultaneous sign-ups with one handle exactly one succeeds', async () => {
  const handle = newHandle('race');
  const attempts = Array.from({ length: 4 }, (_, i) => {
    return agentFor(servers.pds[i % 2]).createAccount({ handle, email: newEmail(), password: PASSWORD });
  });
  const outcomes = await Promise.allSettled(attempts);
  const winners = outcomes.filter(({ status }) => status === 'fulfilled');
  assert.equal(winners.length, 1);
  const { data } = await agentFor(second).resolveHandle({ handle });
  assert.equal(data.did, winners[0].value.data.did);
});

test('login works with handle, DID and e-mail address on the other replica', async () => {
  const account = await signUp(agentFor(first), 'login');
  for (const identifier of [account.handle, account.did, account.email, account.handle.toUpperCase()]) {
    const { session } = await logIn(second, identifier);
    assert.deepEqual([session.did, session.handle, session.email], [account.did, account.handle, account.email]);
    assert.deepEqual([session.active, session.emailConfirmed], [true, false]);
  }
});

test('a wrong password and an unknown account look alike', async () => {
  const { handle } = await signUp(agentFor(first), 'wrong');
  const message = /^Invalid identifier or password$/;
  await assertRefused(logIn(second, handle, 'not the password'), 401, 'AuthenticationRequired', message);
  await assertRefused(logIn(second, newHandle('nobody')), 401, 'AuthenticationRequired', message);
});

test('getSession describes the caller, and refuses strangers', async () => {
  const agent = agentFor(first);
  const account = await signUp(agent, 'whoami');
  const authorization = `Bearer ${agent.session.accessJwt}`;
  const stranger = agentFor(second);
  const { data } = await stranger.com.atproto.server.getSession({}, { headers: { authorization } });
  assert.deepEqual(
    [data.did, data.handle, data.email, data.emailConfirmed, data.active],
    [account.did, account.handle, account.email, false, true],
  );
  await assertRefused(stranger.com.atproto.server.getSession(), 401, 'AuthMissing');
  const garbage = { headers: { authorization: 'Bearer nonsense' } };
  await assertRefused(stranger.com.atproto.server.getSession({}, garbage), 400, 'InvalidToken');
  const refreshToken = { headers: { authorization: `Bearer ${agent.session.refreshJwt}` } };
  await assertRefused(stranger.com.atproto.server.getSession({}, refreshToken), 400, 'InvalidToken');
});

test('refreshing rotates the token, and the old one stays good for the same successor', async () => {
  const agent = agentFor(first);
  await signUp(agent, 'rotate');
  const { refreshJwt, accessJwt } = agent.session;
  const [here, there] = [await refresh(first, refreshJwt), await refresh(second, refreshJwt)];
  assert.notEqual(tokenId(here.refreshJwt), tokenId(refreshJwt));
  assert.equal(tokenId(there.refreshJwt), tokenId(here.refreshJwt));
  const next = await refresh(second, here.refreshJwt);
  assert.notEqual(tokenId(next.refreshJwt), tokenId(here.refreshJwt));
  await assertRefused(refresh(second, accessJwt), 400, 'InvalidToken');
});

test('simultaneous refreshes on both replicas agree on the successor', async () => {
  const agent = agentFor(first);
  await signUp(agent, 'storm');
  const refreshes = Array.from({ length: 6 }, (_, i) => refresh(servers.pds[i % 2], agent.session.refreshJwt));
  const successors = new Set((await Promise.all(refreshes)).map(({ refreshJwt }) => tokenId(refreshJwt)));
  assert.equal(successors.size, 1);
});

test('logging out revokes the refresh token on every replica', async () => {
  const agent = agentFor(first);
  await signUp(agent, 'logout');
  const { refreshJwt } = agent.session;
  await agent.logout();
  assert.equal(agent.hasSession, false);
  for (const origin of servers.pds) {
    await assertRefused(refresh(origin, refreshJwt), 400, 'ExpiredToken', /revoked/);
  }
});

test('a stored session is resumed on the other replica', async () => {
  const changes = [];
  const manager = (origin) => {
    return new CredentialSession(
      new URL(origin),
      routedFetch(() => origin),
      (change) => changes.push(change),
    );
  };
  const started = manager(first);
  await started.createAccount({ handle: newHandle('resume'), email: newEmail(), password: PASSWORD });
  const resumed = manager(second);
  await resumed.resumeSession(started.session);
  assert.notEqual(resumed.session.refreshJwt, started.session.refreshJwt);
  await new Agent(resumed).post({ text: 'resumed' });
  await resumed.logout();
  assert.deepEqual(changes, ['create', 'update', 'expired']);
});

test('an app password opens a lesser session until it is revoked', async () => {
  const agent = agentFor(first);
  const { handle } = await signUp(agent, 'app');
  const { data: created } = await agent.com.atproto.server.createAppPassword({ name: 'bot' });
  const bot = await logIn(second, handle, created.password);
  await bot.post({ text: 'beep' });
  await assertRefused(
    bot.com.atproto.server.createAppPassword({ name: 'more' }),
    400,
    'InvalidToken',
    /Bad token scope/,
  );
  const { data: listed } = await agent.com.atproto.server.listAppPasswords();
  assert.deepEqual(
    listed.passwords.map(({ name }) => name),
    ['bot'],
  );
  await agent.com.atproto.server.revokeAppPassword({ name: 'bot' });
  await assertRefused(logIn(second, handle, created.password), 401, 'AuthenticationRequired');
  await assertRefused(refresh(second, bot.session.refreshJwt), 400, 'ExpiredToken');
});

test("handles resolve over XRPC and over the handle's own well-known document", async () => {
  const { did, handle } = await signUp(agentFor(first), 'resolve');
  const unknown = newHandle('nobody');
  for (const origin of servers.pds) {
    assert.equal((await agentFor(origin).resolveHandle({ handle })).data.did, did);
    assert.deepEqual(await wellKnownDid(origin, handle), { status: 200, text: did });
    await assertRefused(agentFor(origin).resolveHandle({ handle: unknown }), 400, 'HandleNotFound');
    assert.equal((await wellKnownDid(origin, unknown)).status, 404);
  }
});

async function refresh(origin, refreshJwt) {
  const headers = { authorization: `Bearer ${refreshJwt}` };
  return (await agentFor(origin).com.atproto.server.refreshSession(undefined, { headers })).data;
}

function tokenId(jwt) {
  return JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url')).jti;
}

/** Asks for the well-known document as if `handle` resolved to this replica; fetch() cannot set the Host header. */
function wellKnownDid(origin, handle) {
  return new Promise((resolve, reject) => {
    const url = new URL('/.well-known/atproto-did', origin);
    request(url, { headers: { host: handle } }, async (response) => {
      resolve({ status: response.statusCode, text: (await response.toArray()).join('') });
    })
      .on('error', reject)
      .end();
  });
}
