/** Rebuilds repositories from the firehose alone, refusing any message that does not follow from the ones before. */
import assert from 'node:assert/strict';

import { verifyCommit, verifySync } from './commit-proof.js';
import { treeRoot } from './repo.js';

/**
 * @typedef {object} MirroredRepo
 * @property {string} rev
 * @property {string} data root CID of the tree
 * @property {Map<string, import('@atproto/lex-data').Cid> | null} records record path → CID; null if the repository was
 *   replaced as a whole, as by an import, which the stream does not tell the records of
 */

export class Mirror {
  /** @type {Map<string, MirroredRepo>} by DID */
  repos = new Map();
  #directory;
  #keys = new Map();

  /** @param {import('./directory.js').Directory} directory */
  constructor(directory) {
    this.#directory = directory;
  }

  /** @param {import('./firehose.js').Frame} frame */
  async apply({ type, body }) {
    if (type === '#commit') await this.#applyCommit(body);
    else if (type === '#sync') await this.#applySync(body);
    else if (type === '#account' && body.status === 'deleted') this.repos.delete(body.did);
  }

  async #applyCommit(event) {
    const data = await verifyCommit(event, await this.#signingKey(event.repo));
    const before = this.repos.get(event.repo);
    assert.equal(event.since, before?.rev ?? null, `since of ${event.rev} names the commit before`);
    assert.equal(event.prevData?.toString(), before?.data, `prevData of ${event.rev} names the tree before`);
    assert.ok(event.rev > (before?.rev ?? ''), `${event.rev} is the newest rev`);
    const records = before?.records === null ? null : new Map(before?.records);
    if (records) {
      for (const op of event.ops) applyOperation(records, op);
      assert.equal(await rootOf(records), data, `the operations up to ${event.rev} give its tree`);
    }
    this.repos.set(event.repo, { rev: event.rev, data, records });
  }

  async #applySync(event) {
    const data = await verifySync(event, await this.#signingKey(event.did));
    const before = this.repos.get(event.did);
    if (data === before?.data) {
      assert.equal(event.rev, before.rev);
    } else {
      assert.ok(event.rev > (before?.rev ?? ''), `${event.rev} is the newest rev`);
      this.repos.set(event.did, { rev: event.rev, data, records: null });
    }
  }

  async #signingKey(did) {
    if (!this.#keys.has(did)) this.#keys.set(did, await this.#directory.signingKey(did));
    return this.#keys.get(did);
  }
}

function applyOperation(records, { action, path, cid, prev }) {
  assert.equal(String(prev), String(records.get(path)), `prev of ${action} ${path}`);
  if (action === 'delete') records.delete(path);
  else records.set(path, cid);
}

function rootOf(records) {
  return treeRoot(
    [...records].map(([path, cid]) => {
      const [collection, rkey] = path.split('/');
      return { collection, rkey, cid };
    }),
  );
}
