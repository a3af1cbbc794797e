/** Starts the servers under test with the `stack` program of the `tests` crate. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { withDeadline } from './deadline.js';

const START_MS = 120_000;
const STOP_MS = 30_000;
const LOG_TAIL_LINES = 40;

/**
 * @typedef {object} Servers
 * @property {string[]} pds base URLs of the replicas; all of them serve the same accounts
 * @property {string} plc base URL of the PLC directory they use
 * @property {string} adminPassword password of HTTP Basic user `admin`
 */

/**
 * Starts two replicas with everything they need, and resolves once they answer.
 *
 * @param {{ plcUrl?: string }} [options] `plcUrl`: use this directory instead of the stack's own
 * @returns {Promise<Servers & { stop: () => Promise<void> }>}
 */
export async function startStack({ plcUrl } = {}) {
  const data = await mkdtemp(join(tmpdir(), 'rookery-e2e-'));
  const log = join(data, 'stack.log');
  const directory = plcUrl ? ['--plc-url', plcUrl] : [];
  const args = ['run', '--json', '--replicas', '2', '--data', data, '--ports', 'free', ...directory];
  const child = spawn(stackProgram(), args, { stdio: ['ignore', 'pipe', openSync(log, 'w')] });
  try {
    const servers = await withDeadline(readiness(child), START_MS, 'the stack to come up');
    return { ...servers, stop: () => stop(child, data) };
  } catch (cause) {
    const tail = (await readFile(log, 'utf8')).split('\n').slice(-LOG_TAIL_LINES).join('\n');
    await stop(child, data);
    throw new Error(`the stack did not start; its log ends with:\n${tail}`, { cause });
  }
}

function stackProgram() {
  const target = process.env.CARGO_TARGET_DIR ?? join(import.meta.dirname, '../../../target');
  return process.env.STACK_BIN ?? join(target, 'debug/stack');
}

/** The first line on stdout is the JSON that says where everything listens. */
async function readiness(child) {
  const line = once(createInterface({ input: child.stdout }), 'line');
  const exit = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the stack ended early (${signal ?? `status ${code}`})`);
  });
  const [json] = await Promise.race([line, exit]);
  exit.catch(() => {}); // the later, wanted exit is not an error
  return JSON.parse(json);
}

async function stop(child, data) {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await withDeadline(exited, STOP_MS, 'the stack to stop').catch((error) => {
      child.kill('SIGKILL');
      throw error;
    });
  }
  await rm(data, { recursive: true, force: true });
}
