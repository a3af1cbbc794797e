/** Clients of the servers under test: the official agent, tied to a chosen replica. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import { AtpAgent } from '@atproto/api';

export const PASSWORD = 'correct horse battery staple';

/**
 * Routes requests to the replica that `pick` names. Without it an agent that has logged in follows the account's DID
 * document to the one public URL that all replicas share, and a test would no longer know which replica it talks to.
 *
 * @param {() => string} pick
 * @returns {typeof fetch}
 */
export function routedFetch(pick) {
  return (input, init) => {
    const request = new Request(input, init);
    const { pathname, search } = new URL(request.url);
    return fetch(new URL(pathname + search, pick()), request);
  };
}

/** An agent all of whose requests go to the replica at `origin`. */
export function agentFor(origin, options = {}) {
  return new AtpAgent({ service: origin, fetch: routedFetch(() => origin), ...options });
}

/** An agent whose requests go to the replicas in turn, as behind a load balancer without affinity. */
export function alternatingAgent(origins) {
  let requests = 0;
  return new AtpAgent({ service: origins[0], fetch: routedFetch(() => origins[requests++ % origins.length]) });
}

/** `name` with a random part, so that a run never meets the accounts of another; `name` has at most 9 characters. */
export function newHandle(name) {
  return `${name}-${randomBytes(4).toString('hex')}.test`;
}

/** An e-mail address that no other account has. */
export function newEmail() {
  return `${randomBytes(8).toString('hex')}@mail.example.com`;
}

/**
 * Signs up a new account through `agent`, which is logged in to it afterwards.
 *
 * @param {AtpAgent} agent
 * @param {string} name first part of the handle, at most 9 characters
 */
export async function signUp(agent, name) {
  const [handle, email] = [newHandle(name), newEmail()];
  const { data } = await agent.createAccount({ handle, email, password: PASSWORD });
  return { did: data.did, handle, email, didDoc: data.didDoc };
}

/** A second agent on `origin` with a session of its own for the same account. */
export async function logIn(origin, identifier, password = PASSWORD) {
  const agent = agentFor(origin);
  await agent.login({ identifier, password });
  return agent;
}

/**
 * Asserts that `call` is refused with this status and error name, and a message that matches `message`.
 *
 * @param {Promise<unknown>} call
 */
export async function assertRefused(call, status, name, message = /./) {
  await assert.rejects(call, (error) => {
    assert.deepEqual({ status: error.status, name: error.error }, { status, name }, error.stack);
    assert.match(error.message, message);
    return true;
  });
}

/** The record key, which is the last part of an AT URI. */
export function recordKey(uri) {
  return uri.slice(uri.lastIndexOf('/') + 1);
}
