/** The reference server of the protocol, `@atproto/pds` from npm. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { startServer } from './child.js';
import { eventually } from './deadline.js';

const FOLDER = join(import.meta.dirname, '../../reference');
const INSTALL_MS = 1_800_000;
const START_MS = 120_000;

/**
 * Installs the server if it is not yet, and starts it with accounts and files of its own.
 *
 * @param {{ plcUrl: string, smtpUrl: string }} options the PLC directory and the mail server it uses
 * @returns {Promise<{ origin: string, stop: () => Promise<void> }>}
 */
export async function startReference({ plcUrl, smtpUrl }) {
  await promisify(execFile)(join(FOLDER, 'setup.sh'), { timeout: INSTALL_MS });
  const data = await mkdtemp(join(tmpdir(), 'rookery-reference-'));
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  const node = join(FOLDER, `node_modules/node-linux-${process.arch}/bin/node`);
  const { stop } = await startServer('the reference server', [node, 'server.js'], {
    cwd: FOLDER,
    env: {
      PDS_DATA_DIRECTORY: data,
      PDS_DID_PLC_URL: plcUrl,
      PDS_EMAIL_FROM_ADDRESS: 'reference@localhost',
      PDS_EMAIL_SMTP_URL: smtpUrl,
      PDS_PORT: String(port),
      // Else it would be the one of the servers under test, which are on this machine, too.
      PDS_SERVICE_DID: 'did:web:reference.test',
    },
    isReady: () => eventually(() => answers(origin), START_MS, 'an answer'),
    ms: START_MS,
  });
  return {
    origin,
    stop: async () => {
      await stop();
      await rm(data, { recursive: true, force: true });
    },
  };
}

async function answers(origin) {
  const response = await fetch(new URL('/xrpc/_health', origin)).catch(() => undefined);
  return response?.ok || undefined;
}

async function freePort() {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
