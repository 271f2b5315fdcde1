// The message board in Node and Python, and by hand: the same URLs, the same page, the same tests.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LIMIT, Server, file, freePort, openPage, screenshot, setting, shows, startBrowser, state, until } from '../test/support.mjs';

const node = (name) => (t, env) => Server.start(t, ['node', file(name)], { env });
const python = (folder, name) => async (t, env) => Server.start(t, [
  setting('FANFARE_PYTHON'), '-m', 'uvicorn', '--app-dir', file(folder), `${name}:app`, '--port', '{port}',
], { env, port: await freePort() });
const servers = {
  Node: node('board/server.mjs'),
  FastAPI: python('board', 'server'),
  'Node by hand': node('by-hand/board.mjs'),
  'FastAPI by hand': python('by-hand', 'board'),
};
const said = async (reader, count) => (await reader.has('message', count)).map((data) => JSON.parse(data).text);

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: history, then what is new, and nothing of one's own`, LIMIT, async (t) => {
    const server = await start(t);
    const post = async (id, text) => assert.equal((await server.post(`/message?id=${id}`, { text })).status, 200);
    await post(42, 'one');
    await post(43, 'two');
    const readers = await Promise.all([42, 43, 44].map((id) => server.read(t, `/messages?id=${id}`)));
    assert.deepEqual(await said(readers[2], 2), ['one', 'two']);
    await post(42, 'three');
    assert.deepEqual(await said(readers[0], 1), ['two']);
    assert.deepEqual(await said(readers[1], 2), ['one', 'three']);
    assert.deepEqual(await said(readers[2], 3), ['one', 'two', 'three']);

    // Cut, and back: what was missed, still without one's own.
    readers[0].close();
    await post(43, 'four');
    await post(42, 'five');
    await post(44, 'six');
    const again = await server.read(t, '/messages?id=42', { lastEventId: readers[0].lastId });
    assert.deepEqual(await said(again, 2), ['four', 'six']);
    assert.deepEqual(await said(readers[2], 5), ['one', 'two', 'three', 'four', 'five']);
  });

  test(`${name}: what is not a message is a 400 with JSON`, LIMIT, async (t) => {
    const server = await start(t);
    const json = { 'Content-Type': 'application/json' };
    for (const body of ['{"text":""}', '{"text":" \\n"}', '{"text":1}', '{}', '[]', 'null', '{"text":', '']) {
      const answer = await server.ask('/message?id=42', { method: 'POST', body, headers: json });
      assert.equal(answer.status, 400, body);
      assert.equal(typeof answer.json.error, 'string', body);
    }
    for (const path of ['/message', '/message?id=']) {
      const answer = await server.post(path, { text: 'from nobody' });
      assert.equal(answer.status, 400, path);
      assert.equal(typeof answer.json.error, 'string', path);
    }
    const reader = await server.read(t, '/messages?id=1');
    await server.post('/message?id=2', { text: 'a message' });
    assert.deepEqual(await said(reader, 1), ['a message']);
  });
}

for (const name of ['Node', 'FastAPI']) {
  test(`${name}: in a browser, through a kill`, LIMIT, async (t) => {
    const server = await servers[name](t);
    const context = await (await startBrowser(t)).newContext();
    const [ann, bob] = [await openPage(context, server.url), await openPage(context, server.url)];
    const post = async (page, text) => {
      await page.fill('#text', text);
      await page.click('button');
    };
    const board = async (page, ...wanted) => shows(page, '#board li', wanted);
    for (const page of [ann, bob]) await state(page, 'Connected');
    await post(ann, 'Does anybody have a ladder?');
    await board(bob, 'Does anybody have a ladder?');
    await post(bob, 'Third floor, ring twice');
    await board(ann, 'Does anybody have a ladder?', 'Third floor, ring twice');
    // Once: drawn by the page itself, not sent back by the server.
    await board(bob, 'Does anybody have a ladder?', 'Third floor, ring twice');
    assert.equal(await bob.locator('.mine').count(), 1);
    await post(ann, '   ');
    await until('a complaint', async () => (await ann.textContent('#error')).length > 0);
    if (name === 'Node') {
      await screenshot(ann, 'board', { width: 760, height: 380 });
      assert.equal(await ann.textContent('#error'), 'a message needs a text');
    }

    await server.kill();
    for (const page of [ann, bob]) await state(page, 'Connecting...');
    await post(ann, 'Thank you!');
    await until('a complaint', async () => (await ann.textContent('#error')).startsWith('The server is away'));
    await server.again();
    for (const page of [ann, bob]) await state(page, 'Connected');
    await ann.click('button');
    const note = 'The server has started anew. What is above is all it knew.';
    await board(bob, 'Does anybody have a ladder?', 'Third floor, ring twice', note, 'Thank you!');
    await board(ann, 'Does anybody have a ladder?', 'Third floor, ring twice', note, 'Thank you!');
    // A page that is loaded again is somebody else, and sees what it said itself.
    await ann.reload();
    await board(ann, 'Thank you!');
    assert.deepEqual([...ann.faults, ...bob.faults], []);
  });

  test(`${name}: a page of another origin, if it is allowed`, LIMIT, async (t) => {
    const [allowed, other] = [await servers[name](t), await servers[name](t)];
    const server = await servers[name](t, { ALLOWED_ORIGIN: allowed.url });
    const context = await (await startBrowser(t)).newContext();
    const open = (from) => openPage(context, `${from.url}/?server=${server.url}`);
    const [ann, eve] = [await open(allowed), await open(other)];
    await state(ann, 'Connected');
    await state(eve, 'Disconnected');
    await ann.fill('#text', 'from elsewhere');
    await ann.click('button');
    await shows(ann, '#board li', ['from elsewhere']);
    await eve.fill('#text', 'let me in');
    await eve.click('button');
    await until('a complaint', async () => (await eve.textContent('#error')).length > 0);
    const reader = await server.read(t, '/messages?id=1');
    assert.deepEqual(await said(reader, 1), ['from elsewhere']);
  });
}
