/**
 * Global set-up of the test run: one stack for all test files, handed to them through the environment.
 * With `E2E_PDS_URLS` set the run uses servers that are already up instead.
 */
import { startStack } from './stack.js';

let stack;

export async function globalSetup() {
  if (process.env.E2E_PDS_URLS) return;
  stack = await startStack({ data: process.env.E2E_DATA });
  process.env.E2E_PDS_URLS = stack.pds.join(',');
  process.env.E2E_PLC_URL = stack.plc;
  process.env.E2E_MAIL = stack.mail;
}

export async function globalTeardown() {
  await stack?.stop();
}
