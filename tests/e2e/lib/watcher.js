/** What a relay sees of a server, beside what the official consumer verifies of it. */
import { Consumer } from './consumer.js';
import { isCommit, Subscription } from './firehose.js';

export class Watcher {
  /** @type {Subscription} */
  stream;
  #consumer;

  /**
   * Watches the server at `origin` from its beginning.
   *
   * @param {string} origin
   * @param {string} plcUrl the PLC directory
   */
  static async start(origin, plcUrl) {
    const watcher = new Watcher();
    watcher.stream = await Subscription.open(origin, { cursor: 0 });
    watcher.#consumer = Consumer.start(origin, plcUrl);
    return watcher;
  }

  /**
   * Waits until a new record was seen and verified, and gives all frames up to that. Its account may get another key then.
   *
   * @param {{ uri: string, commit: { rev: string } }} record
   */
  async until({ uri, commit }) {
    await this.#consumer.until((event) => event.event === 'create' && event.uri.toString() === uri);
    return this.stream.readUntil(isCommit(commit.rev));
  }

  /** Ends, and asserts that nothing was refused. */
  async stop() {
    await this.stream.close();
    await this.#consumer.stop();
  }
}
