/** What `make run` and the README tell a newcomer to do works when it is done to the letter. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { agentFor } from '../lib/client.js';
import { eventually } from '../lib/deadline.js';
import { findCode } from '../lib/mailbox.js';
import { runStack } from '../lib/stack.js';

const README = join(import.meta.dirname, '../../../README.md');
const DOCUMENTED = 'http://localhost:2583';
const SCREEN_MS = 120_000;

/** All that the launcher has written to its terminal. */
let screen = '';
let stack;
/** Where the api is, which the launcher says. */
let origin;

before(async () => {
  const { ready, stop } = await runStack([], async (child) => {
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (screen += text));
    return eventually(() => /Ctrl-C stops everything/.exec(screen)?.input, SCREEN_MS, 'the welcome');
  });
  stack = { stop };
  origin = /^ *api +(http:\S+)$/m.exec(ready)[1];
});

after(() => stack?.stop());

/** Runs commands as one shell and gives what they print; what they ask of the reader is done by `answers`. */
async function shell(commands) {
  const child = spawn('sh', ['-eu'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (text) => (output += text));
  child.stderr.on('data', (text) => (errors += text));
  for await (const command of commands) child.stdin.write(`${command}\n`);
  child.stdin.end();
  const [code] = await once(child, 'close');
  assert.deepEqual([code, errors], [0, ''], output);
  return output;
}

/** The code blocks of a language in the README's section "Try it", for the server that runs here. */
async function readme(language) {
  const [, section] = /^### Try it$(.*?)^##/ms.exec(await readFile(README, 'utf8'));
  const blocks = section.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'));
  return Array.from(blocks, ([, block]) => block.replaceAll(DOCUMENTED, origin));
}

/** The commands with the codes of the mails, each as soon as it is on the screen. */
async function* withCodes(blocks, address) {
  let seen = screen.length;
  for (const block of blocks) {
    if (!block.includes('CODE=')) {
      yield block;
      continue;
    }
    const mail = await eventually(() => nextMail(address, seen), SCREEN_MS, `a mail to ${address} on the screen`);
    seen = mail.end;
    yield block.replace(/CODE=\S+/, `CODE=${findCode(mail.text)}`);
  }
}

/** The first whole mail to this address on the screen from a position on. */
function nextMail(address, start) {
  const found = new RegExp(`^  \\| mail to ${address}\\n(?:  \\|.*\\n)+\\n`, 'm').exec(screen.slice(start));
  return found ? { text: found[0], end: start + found.index + found[0].length } : undefined;
}

test('the commands that make run shows make an account and a post', async () => {
  const commands = screen.match(/^  (?:curl|TOKEN=).*?(?=\n\n)/gms);
  assert.equal(commands.length, 3);
  const output = await shell(commands);
  const [, uri] = /"uri":"(at:[^"]+)"/.exec(output);
  const [, , repo, collection, rkey] = uri.split('/');
  const { data } = await agentFor(origin).com.atproto.repo.getRecord({ repo, collection, rkey });
  assert.equal(data.value.text, 'Hello');
});

test("the README's walk confirms an address, changes the handle and resets the password", async () => {
  const blocks = await readme('sh');
  assert.equal(blocks.length, 3);
  const output = await shell(withCodes(blocks, 'bob@example.com'));
  assert.doesNotMatch(output, /"error"/);
  const session = JSON.parse(output.trim().split('\n').at(-1));
  assert.deepEqual(
    [session.handle, session.email, session.emailConfirmed, session.active],
    ['robert.test', 'bob@example.com', true, true],
  );
  assert.equal((await agentFor(origin).resolveHandle({ handle: 'robert.test' })).data.did, session.did);

  const [script] = await readme('js');
  const node = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: join(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const printed = (await node.stdout.toArray()).join('');
  const [uri, address] = printed.trim().split('\n');
  assert.match(uri, new RegExp(`^at://${session.did}/app\\.bsky\\.feed\\.post/`));
  const picture = await fetch(address);
  assert.deepEqual([picture.status, picture.headers.get('content-type')], [200, 'image/gif']);
  assert.match(await picture.text(), /^GIF89a/);
});
