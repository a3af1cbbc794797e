/** Servers as child processes, which end with the test that started them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { withDeadline } from './deadline.js';

const STOP_MS = 60_000;
const LOG_TAIL_LINES = 40;

/**
 * Starts a program, and stops it again if `isReady` fails or takes longer than `ms`.
 *
 * @template T
 * @param {string} name for messages
 * @param {string[]} command the program and its arguments
 * @param {{ isReady: (child: import('node:child_process').ChildProcess) => Promise<T>, ms: number, cwd?: string,
 *   env?: Record<string, string> }} options `env` is set besides what this process has
 * @returns {Promise<{ ready: T, child: import('node:child_process').ChildProcess, stop: () => Promise<void> }>}
 */
export async function startServer(name, [program, ...args], { isReady, ms, cwd, env }) {
  // Should the test be killed, nobody stops its servers.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', program, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = tail(child.stderr);
  child.stdout.resume(); // should nobody listen, it must not fill up
  const stop = () => stopServer(child, name);
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`${name} ended (${signal ?? `status ${code}`})`);
  });
  ended.catch(() => {}); // the later, wanted end is no error
  try {
    const ready = await withDeadline(Promise.race([isReady(child), ended]), ms, `${name} to come up`);
    return { ready, child, stop };
  } catch (cause) {
    await stop();
    throw new Error(`${name} did not start; it said:\n${log.join('\n')}`, { cause });
  }
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

async function stopServer(child, name) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await withDeadline(exited, STOP_MS, `${name} to stop`).catch((error) => {
    child.kill('SIGKILL');
    throw error;
  });
}
