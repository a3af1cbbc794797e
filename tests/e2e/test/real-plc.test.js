/** One account's life with the directory that the network runs, which checks every operation it is sent. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import plc from '@did-plc/lib';
import { Database, PlcServer } from '@did-plc/server';

import { agentFor, logIn, signUp } from '../lib/client.js';
import { Directory } from '../lib/directory.js';
import { assertReplicasAgree } from '../lib/repo.js';
import { startStack } from '../lib/stack.js';

let directoryServer;
let directory;
let stack;

before(async () => {
  directoryServer = PlcServer.create({ db: Database.mock() });
  const { port } = (await directoryServer.start()).address();
  directory = new Directory(`http://localhost:${port}`);
  stack = await startStack({ plcUrl: directory.url });
});

after(async () => {
  await stack?.stop();
  await directoryServer?.destroy();
});

test('sign up and post, recorded by the directory', async () => {
  const [first, second] = stack.pds;
  const agent = agentFor(first);
  const account = await signUp(agent, 'real');
  const { signingKey, handle, pds } = await directory.identity(account.did);
  assert.deepEqual([handle, pds], [account.handle, agent.pdsUrl.origin]);
  await plc.assureValidCreationOp(account.did, await directory.lastOperation(account.did));

  await (await logIn(second, account.handle)).post({ text: 'hello, directory' });
  const { records } = await assertReplicasAgree(
    stack.pds.map((origin) => agentFor(origin)),
    account.did,
    signingKey,
  );
  assert.equal(records.size, 1);

  const operations = await directory.operations(account.did);
  assert.equal(operations.length, 1);
  const data = await plc.validateOperationLog(account.did, operations);
  assert.deepEqual(data.alsoKnownAs, [`at://${account.handle}`]);
});
