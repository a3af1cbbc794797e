/** Pictures of the official client: uploaded at one replica, posted at another, read at both. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { agentFor, alternatingAgent, assertRefused, recordKey, signUp } from '../lib/client.js';
import { Directory } from '../lib/directory.js';
import { assertReplicasAgree } from '../lib/repo.js';
import { servers } from '../lib/servers.js';

const directory = new Directory(servers.plc);
const readers = servers.pds.map((origin) => agentFor(origin));
const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');

/** A picture that no other account has; only its beginning is one. */
function picture(size) {
  return Buffer.concat([PNG, randomBytes(size - PNG.length)]);
}

test('a picture is posted, seen on both replicas, and gone with its post', async (t) => {
  const agent = alternatingAgent(servers.pds);
  const { did } = await signUp(agent, 'pictures');
  t.after(async () => assertReplicasAgree(readers, did, await directory.signingKey(did)));
  for (const size of [1_000, 900_000]) {
    const bytes = picture(size);
    const { blob } = (await agent.uploadBlob(bytes, { encoding: 'image/png' })).data;
    assert.deepEqual([blob.mimeType, blob.size], ['image/png', size]);
    const digest = createHash('sha256').update(bytes).digest();
    assert.deepEqual(Buffer.from(blob.ref.multihash.digest), digest);
    const cid = blob.ref.toString();
    await assertRefused(readers[0].com.atproto.sync.getBlob({ did, cid }), 400, 'InvalidRequest', /Blob not found/);

    const embed = { $type: 'app.bsky.embed.images', images: [{ image: blob, alt: 'noise' }] };
    const { uri } = await agent.post({ text: 'look', embed });
    for (const reader of readers) {
      const read = await reader.com.atproto.sync.getBlob({ did, cid });
      assert.equal(Buffer.compare(Buffer.from(read.data), bytes), 0);
      assert.equal(read.headers['content-type'], 'image/png');
      const record = await reader.app.bsky.feed.post.get({ repo: did, rkey: recordKey(uri) });
      assert.equal(record.value.embed.images[0].image.ref.toString(), cid);
    }
    await agent.deletePost(uri);
    for (const reader of readers) {
      await assertRefused(reader.com.atproto.sync.getBlob({ did, cid }), 400, 'InvalidRequest', /Blob not found/);
    }
  }
});

test('a profile has an avatar, which must be what was uploaded', async () => {
  const agent = alternatingAgent(servers.pds);
  const { did } = await signUp(agent, 'avatar');
  const { blob } = (await agent.uploadBlob(picture(5_000), { encoding: 'image/png' })).data;
  const write = (avatar) => {
    const record = { $type: 'app.bsky.actor.profile', displayName: 'Alice', avatar };
    return agent.com.atproto.repo.putRecord({ repo: did, collection: 'app.bsky.actor.profile', rkey: 'self', record });
  };
  const claimed = { $type: 'blob', ref: blob.ref, mimeType: 'image/png', size: 4_999 };
  await assertRefused(write(claimed), 400, 'InvalidSize');
  await assertRefused(write({ ...claimed, mimeType: 'image/jpeg', size: 5_000 }), 400, 'InvalidMimeType');
  await assertRefused(write({ ...claimed, mimeType: 'text/plain', size: 5_000 }), 400, 'InvalidRequest');
  await write(blob);
  const { data } = await readers[1].com.atproto.sync.getBlob({ did, cid: blob.ref.toString() });
  assert.equal(data.length, 5_000);
});
