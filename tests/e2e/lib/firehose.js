/** A subscriber of com.atproto.sync.subscribeRepos that keeps every frame as it came off the wire. */
import { once } from 'node:events';

import { cborDecodeAll } from '@atproto/lex-cbor';
import { WebSocket } from 'ws';

import { withDeadline } from './deadline.js';

const READ_MS = 60_000;

/**
 * @typedef {object} Frame
 * @property {Buffer} bytes the frame as sent
 * @property {1 | -1} op 1 for messages, -1 for errors
 * @property {string | undefined} type `#commit`, `#sync`, `#identity`, `#account` or `#info`; none on errors
 * @property {Record<string, any>} body
 */

export class Subscription {
  /** @type {Frame[]} every frame received so far */
  frames = [];
  #socket;
  #closed;
  #wake = () => {};

  /**
   * Connects to the replica at `origin` and waits until the connection stands.
   *
   * @param {string} origin
   * @param {{ cursor?: number }} [options] without a cursor the subscription starts with the next event
   */
  static async open(origin, { cursor } = {}) {
    const url = new URL('/xrpc/com.atproto.sync.subscribeRepos', origin.replace(/^http/, 'ws'));
    if (cursor !== undefined) url.searchParams.set('cursor', cursor);
    const subscription = new Subscription(new WebSocket(url));
    await withDeadline(once(subscription.#socket, 'open'), READ_MS, `a connection to ${url}`);
    return subscription;
  }

  constructor(socket) {
    this.#socket = socket;
    this.#closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: reason.toString() }));
    this.#closed.catch(() => {}); // a failed connection is reported by open()
    socket.on('message', (bytes) => {
      this.frames.push(decode(bytes));
      this.#wake();
    });
  }

  /**
   * Reads on until a frame satisfies `isLast`, and returns all frames up to and including that one.
   *
   * @param {(frame: Frame) => boolean} isLast
   * @returns {Promise<Frame[]>}
   */
  readUntil(isLast) {
    return withDeadline(this.#search(isLast), READ_MS, `a frame, having read ${this.#summary()}`);
  }

  async #search(isLast) {
    for (let index = 0; ; index++) {
      while (index >= this.frames.length) await new Promise((resolve) => (this.#wake = resolve));
      if (isLast(this.frames[index])) return this.frames.slice(0, index + 1);
    }
  }

  /** Close code and reason, once the server has ended the connection. */
  closed() {
    return withDeadline(this.#closed, READ_MS, 'the server to close the connection');
  }

  async close() {
    this.#socket.close();
    await this.closed();
  }

  #summary() {
    return (
      this.frames.map(({ op, type, body }) => (op === 1 ? `${type} ${body.seq}` : body.error)).join(', ') || 'none'
    );
  }
}

/**
 * Everything that the replica at `origin` has in its log up to now.
 *
 * @param {string} origin
 * @param {() => Promise<string>} mark makes a commit and gives its rev, by which a reader knows how far to read
 */
export async function replay(origin, mark) {
  const subscription = await Subscription.open(origin, { cursor: 0 });
  const frames = await subscription.readUntil(isCommit(await mark()));
  await subscription.close();
  return frames;
}

/** A message in one line: its type, and for an account its status, for an identity its handle. */
export function describeFrame({ type, body }) {
  if (type === '#account') return `#account ${body.status ?? (body.active ? 'active' : 'inactive')}`;
  if (type === '#identity') return `#identity ${body.handle ?? ''}`.trimEnd();
  return type;
}

/** Tells whether a frame is the #commit of this revision, which makes it a marker to read up to. */
export function isCommit(rev) {
  return ({ type, body }) => type === '#commit' && body.rev === rev;
}

/** The DID a message is about. */
export function subjectOf({ body }) {
  return body.repo ?? body.did;
}

/** @returns {Frame} */
function decode(bytes) {
  const [header, body, ...rest] = cborDecodeAll(bytes);
  if (rest.length > 0) throw new Error('a frame holds exactly a header and a body');
  return { bytes, op: header.op, type: header.t, body };
}
