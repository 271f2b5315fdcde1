// docs/embedding-node.md as a reader follows it: every program of it is written to a folder of its own and run. The Express page is
// opened in a browser, through a restart of its server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { EventSource } from 'eventsource';
import { chromium } from 'playwright-core';

import { Client } from './hosts.mjs';
import { until } from './support.mjs';

const binding = fileURLToPath(new URL('..', import.meta.url));
const guide = readFileSync(new URL('../../../docs/embedding-node.md', import.meta.url), 'utf8');
const programs = new Map([...guide.matchAll(/```js\n\/\/ (\S+)\n([^]*?)```/g)].map(([, name, code]) => [name, code]));
const tried = new Set();
let folder;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'fanfare-guide-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(binding, join(folder, 'node_modules', 'fanfare'));
  for (const name of readdirSync(join(binding, 'node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(join(binding, 'node_modules', name), join(folder, 'node_modules', name));
  }
  for (const [name, code] of programs) writeFileSync(join(folder, name), code);
});
after(() => rmSync(folder, { recursive: true }));

/** Runs a program of the guide; gives what it prints, and for a server where it listens. */
async function start(t, name, { port = 0, serves = true } = {}) {
  tried.add(name);
  const child = spawn(process.execPath, [name], { cwd: folder, env: { ...process.env, PORT: String(port) } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
  const exit = once(child, 'exit');
  t.after(() => child.kill('SIGKILL'));
  if (!serves) {
    assert.deepEqual([await exit, output.includes('Error')], [[0, null], false], output);
    return { output };
  }
  const url = await until(`${name} to listen`, () => {
    if (child.exitCode !== null) throw new Error(output);
    return /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0];
  });
  return { child, url, exit };
}

test('hello.mjs', async (t) => {
  const { output } = await start(t, 'hello.mjs', { serves: false });
  assert.match(output, /said \{"text":"hello"\}\n\S+ message bye\n$/);
});

test('response.mjs', async (t) => {
  const { output } = await start(t, 'response.mjs', { serves: false });
  assert.match(output, /data: ?now/);
});

for (const name of ['http.mjs', 'fastify.mjs']) {
  test(name, async (t) => {
    const { url } = await start(t, name);
    const client = await Client.open(`${url}/events`);
    assert.match((await client.has(2))[0], /^\d{4}-/);
    // Somebody else's EventSource reads it too.
    const source = new EventSource(`${url}/events`);
    t.after(() => source.close());
    const event = await new Promise((resolve) => { source.onmessage = resolve; });
    assert.match(event.data, /^\d{4}-/);
    client.close();
  });
}

test('authorize.mjs', async (t) => {
  const { url } = await start(t, 'authorize.mjs');
  const refused = await Client.open(`${url}/events/time`);
  assert.equal(refused.status, 401);
  assert.equal((await fetch(`${url}/events/time`, { method: 'POST', body: 'x' })).status, 403);
  const client = await Client.open(`${url}/events/time`, { headers: { Authorization: 'Bearer secret-of-ann' } });
  assert.match((await client.has(1))[0], /^\d{4}-/);
  client.close();
});

test('express.mjs: a browser follows a restart', { timeout: 120_000 }, async (t) => {
  let server = await start(t, 'express.mjs');
  const { url } = server;
  const browser = await chromium.launch({
    executablePath: process.env.FANFARE_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(url);
  const texts = () => page.$$eval('li', (items) => items.map((item) => item.textContent));
  const say = (text) => fetch(`${url}/say`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ text }),
  });
  const shows = async (...wanted) => until(wanted.join(), async () => JSON.stringify(await texts()) === JSON.stringify(wanted));
  await until('an open stream', async () => {
    await say('knock');
    return (await texts()).length > 0;
  });
  await page.evaluate(() => list.replaceChildren());
  await say('one <b>');
  await say('two');
  await shows('one <b>', 'two');

  server.child.kill('SIGTERM');
  assert.deepEqual(await server.exit, [0, null]);
  server = await start(t, 'express.mjs', { port: new URL(url).port });
  // Said while the page may still be away: it resumes, and is given what it missed.
  await say('three');
  await shows('one <b>', 'two', 'three');
  await say('four');
  await shows('one <b>', 'two', 'three', 'four');
});

test('handlers.mjs: named as what this addon lacks; handlers.test.mjs runs it with them', async () => {
  tried.add('handlers.mjs');
  const child = spawn(process.execPath, ['handlers.mjs'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { output += text; });
  assert.deepEqual(await once(child, 'close'), [1, null]);
  assert.match(output, /without event handlers/);
});

test('every program of the guide has been tried', () => {
  assert.ok(programs.size >= 6);
  assert.deepEqual([...tried].sort(), [...programs.keys()].sort());
});
