/** The servers this test run talks to: those the global set-up started, or those named in the environment. */

/** @type {Pick<import('./stack.js').Servers, 'pds' | 'plc' | 'mail'>} */
export const servers = {
  pds: required('E2E_PDS_URLS').split(','),
  plc: required('E2E_PLC_URL'),
  mail: required('E2E_MAIL'),
};

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: start the tests with "npm test"`);
  return value;
}
