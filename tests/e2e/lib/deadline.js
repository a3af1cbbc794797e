import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 50;

/**
 * Waits for `promise`, at most `ms` milliseconds; `what` completes the sentence "timed out waiting for …".
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {string} what
 * @returns {Promise<T>}
 */
export async function withDeadline(promise, ms, what) {
  let timer;
  const expiry = new Promise((_, reject) => {
    timer = setTimeout(() => reject(timedOut(ms, what)), ms);
  });
  try {
    return await Promise.race([promise, expiry]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Looks every `interval` milliseconds until `find` gives something other than `undefined`, for at least `ms` of them.
 *
 * @template T
 * @param {() => T | undefined | Promise<T | undefined>} find
 * @param {number} ms
 * @param {string} what as for `withDeadline`
 * @param {number} [interval]
 * @returns {Promise<T>}
 */
export async function eventually(find, ms, what, interval = POLL_MS) {
  for (const end = Date.now() + ms; ; await pause(interval)) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() > end) throw timedOut(ms, what);
  }
}

function timedOut(ms, what) {
  return new Error(`timed out after ${ms} ms waiting for ${what}`);
}
