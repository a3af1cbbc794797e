/**
 * The steps by which an account moves from one server to another, as a migration tool of its owner takes them.
 *
 * The old server vouches for its user, the new one takes the account in, closed at first; repository, blobs and preferences
 * are copied; the old server signs the operation that hands the DID over, for a code that it mails; and then the account is
 * opened at the new server and closed at the old one.
 */
const CAR = 'application/vnd.ipld.car';

/**
 * @typedef {object} Traveller
 * @property {string} did
 * @property {string} handle
 * @property {string} email
 * @property {string} password
 */

/** Makes an account for `traveller` at `to`, where the client is logged in afterwards; it is logged in at `from`. */
export async function enter({ did, handle, email, password }, from, to) {
  const { data: server } = await to.com.atproto.server.describeServer();
  const { data } = await from.com.atproto.server.getServiceAuth({
    aud: server.did,
    lxm: 'com.atproto.server.createAccount',
  });
  await to.com.atproto.server.createAccount(
    { did, handle, email, password },
    { encoding: 'application/json', headers: { authorization: `Bearer ${data.token}` } },
  );
  await to.login({ identifier: did, password });
}

/** Copies repository, blobs and preferences. Gives the blobs that the new server missed before they came. */
export async function copyContent({ did }, from, to) {
  const { data: archive } = await from.com.atproto.sync.getRepo({ did });
  await to.com.atproto.repo.importRepo(archive, { encoding: CAR });
  const { blobs } = (await to.com.atproto.repo.listMissingBlobs()).data;
  for (const { cid } of blobs) {
    const { data, headers } = await from.com.atproto.sync.getBlob({ did, cid });
    await to.uploadBlob(data, { encoding: headers['content-type'] });
  }
  const { data: preferences } = await from.app.bsky.actor.getPreferences();
  await to.app.bsky.actor.putPreferences(preferences);
  return blobs;
}

/** Lets the DID say that its home is `to`; `mailbox` is where the mails of `from` arrive. Gives the operation. */
export async function handOver(from, to, mailbox) {
  const { data: credentials } = await to.com.atproto.identity.getRecommendedDidCredentials();
  await from.com.atproto.identity.requestPlcOperationSignature();
  const { code: token } = await mailbox.next();
  const { data } = await from.com.atproto.identity.signPlcOperation({ token, ...credentials });
  await to.com.atproto.identity.submitPlcOperation({ operation: data.operation });
  return data.operation;
}

/** Opens the account at its new home and closes it at the old one. */
export async function settle(from, to) {
  await to.com.atproto.server.activateAccount();
  await from.com.atproto.server.deactivateAccount({});
}

/** Deletes the account that `agent` is logged in to, with a code by mail. */
export async function leave({ did, password }, agent, mailbox) {
  await agent.com.atproto.server.requestAccountDelete();
  const { code: token } = await mailbox.next();
  await agent.com.atproto.server.deleteAccount({ did, password, token });
}
