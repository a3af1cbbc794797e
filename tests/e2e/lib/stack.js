/** Starts the servers under test with the `stack` program of the `tests` crate. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { withDeadline } from './deadline.js';

const START_MS = 120_000;
const STOP_MS = 30_000;
const LOG_TAIL_LINES = 40;
const MAX_ARCHIVE_BYTES = 256 * 1024 * 1024;

/**
 * @typedef {object} Servers
 * @property {string[]} pds base URLs of the replicas; all of them serve the same accounts
 * @property {string} plc base URL of the PLC directory they use
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
  const args = ['run', '--json', '--replicas', '2', '--port', '0'];
  args.push(...(data ? ['--data', data] : ['--temporary']));
  if (plcUrl) args.push('--plc-url', plcUrl);
  const child = spawn(stackProgram(), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = tail(child.stderr);
  try {
    const servers = await withDeadline(readiness(child), START_MS, 'the stack to come up');
    return { ...servers, stop: () => stop(child) };
  } catch (cause) {
    await stop(child);
    throw new Error(`the stack did not start; it said:\n${log.join('\n')}`, { cause });
  }
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

/** The last lines of a stream, as it goes on. */
function tail(stream) {
  const lines = [];
  createInterface({ input: stream }).on('line', (line) => {
    lines.push(line);
    if (lines.length > LOG_TAIL_LINES) lines.shift();
  });
  return lines;
}

/** The first line on stdout is the JSON that says where everything listens. */
async function readiness(child) {
  const line = once(createInterface({ input: child.stdout }), 'line');
  const exit = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the stack ended early (${signal ?? `status ${code}`})`);
  });
  exit.catch(() => {}); // the later, wanted exit is not an error
  const [json] = await Promise.race([line, exit]);
  return JSON.parse(json);
}

async function stop(child) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await withDeadline(exited, STOP_MS, 'the stack to stop').catch((error) => {
    child.kill('SIGKILL');
    throw error;
  });
}
