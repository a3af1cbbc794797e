/** Starts the servers under test with the `stack` program of the `tests` crate. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { startServer } from './child.js';

const START_MS = 120_000;
const MAX_ARCHIVE_BYTES = 256 * 1024 * 1024;

/**
 * @typedef {object} Servers
 * @property {string[]} pds base URLs of the replicas; all of them serve the same accounts
 * @property {string} plc base URL of the PLC directory they use
 * @property {string} smtp URL of the mail server they use
 * @property {string} mail folder with the mails that this has received
 * @property {string} adminPassword password of HTTP Basic user `admin`
 */

/**
 * Starts two replicas with everything they need, and resolves once they answer.
 *
 * @param {{ plcUrl?: string, data?: string }} [options] `plcUrl`: use this directory instead of the stack's own;
 *   `data`: keep data and logs in this folder
 * @returns {Promise<Servers & { stop: () => Promise<void> }>}
 */
export async function startStack({ plcUrl, data } = {}) {
  const args = ['--json', '--replicas', '2'];
  if (data) args.push('--data', data);
  if (plcUrl) args.push('--plc-url', plcUrl);
  const { ready, stop } = await runStack(args, firstLine);
  return { ...JSON.parse(ready), stop };
}

/**
 * Runs `stack run` on free ports until it is stopped; without `--data` its data go with it.
 *
 * @template T
 * @param {string[]} args
 * @param {(child: import('node:child_process').ChildProcess) => Promise<T>} isReady
 */
export function runStack(args, isReady) {
  const place = args.includes('--data') ? [] : ['--temporary'];
  const command = [stackProgram(), 'run', '--port', '0', ...place, ...args];
  return startServer('the stack', command, { isReady, ms: START_MS });
}

/** The archive of a repo of `did` with so many posts that no server ever had; see `stack archive`. */
export async function foreignArchive(did, records) {
  const args = ['archive', '--did', did, '--records', String(records)];
  const { stdout } = await promisify(execFile)(stackProgram(), args, { encoding: 'buffer', maxBuffer: MAX_ARCHIVE_BYTES });
  return stdout;
}

function stackProgram() {
  const target = process.env.CARGO_TARGET_DIR ?? join(import.meta.dirname, '../../../target');
  return process.env.STACK_BIN ?? join(target, 'debug/stack');
}

/** The first line on stdout is the JSON that says where everything listens. */
async function firstLine(child) {
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return line;
}
