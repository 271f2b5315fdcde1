// Join announcements: TypeScript compiled strictly, ids, `retry`, and a browser that resumes with Last-Event-ID through a kill.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, test } from 'node:test';

import { LIMIT, Server, file, folder, openPage, screenshot, startBrowser, state, texts, until } from '../test/support.mjs';

before(() => {
  execFileSync('node', [file('node_modules/typescript/bin/tsc'), '-p', file('join')], { stdio: 'inherit' });
});

const servers = {
  Fanfare: (t) => Server.start(t, ['node', file('join/dist/server.js')], { env: { DATA: folder(t) } }),
  'by hand': (t) => Server.start(t, ['node', file('by-hand/join.mjs')]),
};
const join = async (server, name) => (await server.post('/join', { name })).json.id;
const names = (reader) => reader.data('join').map((data) => JSON.parse(data).name);

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: a join has data, an id of its own and a time to come back`, LIMIT, async (t) => {
    const server = await start(t);
    const ids = [];
    for (let number = 0; number < 200; number += 1) ids.push(await join(server, `n${number}`));
    assert.equal(new Set(ids).size, 200);
    assert.ok(ids.every((id) => id.length <= 16), ids[0]);
    const reader = await server.read(t, '/events?client=a');
    await reader.has('join', 200);
    assert.deepEqual(reader.events.filter(({ event }) => event === 'join').map(({ id }) => id), ids);
    assert.equal(reader.retry, 3000);
    await join(server, 'live');
    await reader.has('join', 201);
    assert.equal(names(reader).at(-1), 'live');

    for (const bad of ['', '?client=', '?client=a/b', '?client=a&client=b', `?client=${'x'.repeat(300)}`]) {
      assert.equal((await server.ask(`/events${bad}`)).status, 400, bad);
    }

    // Cut while others join: exactly those, then the mark, then what is new.
    reader.close();
    for (const late of ['one', 'two']) await join(server, late);
    const again = await server.read(t, '/events?client=a', { lastEventId: reader.lastId });
    await again.has('caught-up', 1);
    await join(server, 'three');
    await again.has('join', 3);
    assert.deepEqual(again.events.map(({ event, data }) => (event === 'join' ? JSON.parse(data).name : event)),
      ['one', 'two', 'caught-up', 'three']);
    assert.deepEqual(JSON.parse(again.data('caught-up')[0]), { after: reader.lastId });
  });
}

test('another run gives no id again, and knows who joined before', LIMIT, async (t) => {
  const server = await servers.Fanfare(t);
  const before = [await join(server, 'a'), await join(server, 'b')];
  await server.kill();
  await server.again();
  const after = [await join(server, 'a'), await join(server, 'b')];
  assert.equal(new Set([...before, ...after]).size, 4);
  const reader = await server.read(t, '/events?client=late');
  await reader.has('join', 4);
  assert.deepEqual(reader.events.filter(({ event }) => event === 'join').map(({ id }) => id), [...before, ...after]);
  assert.deepEqual(reader.data('fanfare.gap'), []);
});

test('in a browser: what it missed while the server was away, and nothing twice', LIMIT, async (t) => {
  const server = await servers.Fanfare(t);
  const context = await (await startBrowser(t)).newContext();
  const page = await openPage(context, `${server.url}/?name=Ann`);
  const list = async () => (await page.$$eval('#joins li', (found) => found.map((item) => [item.className, item.firstChild.textContent])));
  const shows = async (...wanted) => {
    await until(`the list to be ${wanted.join('; ')}`, async () => JSON.stringify(await list()) === JSON.stringify(wanted)).catch(async (error) => {
      throw new Error(`${error.message}, not ${(await list()).join('; ')}`);
    });
  };
  await state(page, 'Connected');
  await shows(['mine', 'Ann joined']);
  await join(server, 'Bob');
  await shows(['mine', 'Ann joined'], ['', 'Bob joined']);
  const [last] = (await texts(page, '#joins li:last-child small'))[0].split(' ');

  await server.kill();
  await state(page, 'Connecting...');
  // Nobody lets the page back in before others have joined.
  await context.setOffline(true);
  await server.again();
  for (const late of ['Cleo', 'Dan']) await join(server, late);
  await context.setOffline(false);
  await state(page, 'Connected');
  const first = [['mine', 'Ann joined'], ['', 'Bob joined']];
  const missed = [['missed', 'Cleo joined'], ['missed', 'Dan joined'], ['note', `Went on after ${last}: 2 missed`]];
  await shows(...first, ...missed);
  await join(server, 'Eve');
  await shows(...first, ...missed, ['', 'Eve joined']);
  await screenshot(page, 'join', { width: 760, height: 560 });
  // Once more, now with nothing missed.
  await server.kill();
  await state(page, 'Connecting...');
  await server.again();
  await until('the mark', async () => (await list()).at(-1)[1].endsWith(': 0 missed'));
  assert.equal((await list()).filter(([, text]) => text.endsWith('joined')).length, 5);
  assert.deepEqual(page.faults, []);
});
