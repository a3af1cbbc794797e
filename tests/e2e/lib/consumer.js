/** The consumer of the protocol's authors: it verifies what a server publishes with the keys in the DID documents. */
import assert from 'node:assert/strict';

import { IdResolver } from '@atproto/identity';
import { Firehose } from '@atproto/sync';

import { eventually } from './deadline.js';

const READ_MS = 120_000;

export class Consumer {
  /** @type {import('@atproto/sync').Event[]} what it has verified so far; a commit is an event for each operation */
  events = [];
  #errors = [];
  #firehose;
  #running;

  /**
   * Starts to read what the server at `origin` has published since the beginning.
   *
   * @param {string} origin
   * @param {string} plcUrl the PLC directory
   */
  static start(origin, plcUrl) {
    const consumer = new Consumer();
    consumer.#firehose = new Firehose({
      service: origin.replace(/^http/, 'ws'),
      idResolver: new IdResolver({ plcUrl, fetch: globalThis.fetch }),
      unauthenticatedHandles: true, // a test's handles are not in the DNS
      getCursor: () => consumer.events.at(-1)?.seq ?? 0,
      handleEvent: (event) => void consumer.events.push(event),
      onError: (error) => consumer.#errors.push(error),
    });
    consumer.#running = consumer.#firehose.start();
    return consumer;
  }

  /** Waits for an event, unless one before is refused. */
  until(isLast) {
    const find = () => {
      assert.deepEqual(this.#errors, []);
      return this.events.find(isLast);
    };
    return eventually(find, READ_MS, 'the official consumer to reach an event');
  }

  /** Stops reading, and asserts that nothing was refused. */
  async stop() {
    await this.#firehose.destroy();
    await this.#running;
    assert.deepEqual(this.#errors, []);
  }
}
