/** What the PLC directory says about accounts. */
import assert from 'node:assert/strict';

import { IdResolver } from '@atproto/identity';

export class Directory {
  /** @param {string} url base URL of the PLC directory */
  constructor(url) {
    this.url = url;
    // The resolver's own fetch refuses loopback addresses, which is where a test's directory is.
    this.resolver = new IdResolver({ plcUrl: url, fetch: globalThis.fetch });
  }

  /** Handle, signing key (did:key) and PDS endpoint of the DID document as it is now. */
  identity(did) {
    return this.resolver.did.resolveAtprotoData(did, true);
  }

  /** The repo signing key as a did:key. */
  async signingKey(did) {
    return (await this.identity(did)).signingKey;
  }

  /** The newest PLC operation of a DID. */
  lastOperation(did) {
    return this.#get(`/${did}/log/last`);
  }

  /** All PLC operations of a DID, oldest first. */
  operations(did) {
    return this.#get(`/${did}/log`);
  }

  async #get(path) {
    const response = await fetch(new URL(path, this.url));
    assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
    return response.json();
  }
}
