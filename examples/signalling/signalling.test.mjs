// The signalling chat: greeting, history, presence, signals for one peer; in a browser two tabs that open a data channel.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LIMIT, Server, file, openPage, screenshot, shows, startBrowser, state, texts, until } from '../test/support.mjs';

const servers = {
  Fanfare: (t) => Server.start(t, ['node', file('signalling/server.mjs')]),
  'by hand': (t) => Server.start(t, ['node', file('by-hand/signalling.mjs')]),
};
const json = (list) => list.map((text) => JSON.parse(text));
const here = (reader) => json(reader.data('peers')).at(-1) ?? [];

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: a greeting, what was said before, and what is said now`, LIMIT, async (t) => {
    const server = await start(t);
    const said = (reader, count) => reader.has('update', count).then((list) => json(list).map(({ text }) => text));
    for (const text of ['one', 'two']) assert.equal((await server.post('/messages', { key: 'a', text })).status, 200);
    const reader = await server.read(t, '/events?key=b');
    assert.deepEqual(await said(reader, 2), ['one', 'two']);
    // The greeting first, then the history: in the order of the stream itself.
    const kinds = reader.events.map(({ event }) => event).filter((event) => event !== 'peers');
    assert.deepEqual(kinds.slice(0, 3), ['notice', 'update', 'update']);
    const [notice] = json(await reader.has('notice', 1));
    assert.match(notice.text, /^Welcome/);
    assert.ok(!Number.isNaN(Date.parse(notice.at)));
    await server.post('/messages', { key: 'a', text: 'three' });
    assert.deepEqual(await said(reader, 3), ['one', 'two', 'three']);

    // Cut, and back: what was said in between, and nothing else.
    reader.close();
    for (const text of ['four', 'five']) await server.post('/messages', { key: 'a', text });
    const again = await server.read(t, '/events?key=b', { lastEventId: reader.events.find(({ data }) => data.includes('three')).id });
    assert.deepEqual(await said(again, 2), ['four', 'five']);
    assert.equal((await server.post('/messages', { key: 'a', text: '' })).status, 400);
  });

  test(`${name}: who leaves is removed, and the others see it; a signal reaches one peer`, LIMIT, async (t) => {
    const server = await start(t);
    const readers = await Promise.all(['a', 'b', 'c'].map((key) => server.read(t, `/events?key=${key}`)));
    const names = await Promise.all(readers.map(async (reader) => json(await reader.has('notice', 1))[0].you));
    assert.equal(new Set(names).size, 3);
    for (const reader of readers) await until('three peers', () => here(reader).length === 3);
    const { status } = await server.post(`/peers/${names[1]}`, { key: 'a', signal: { candidate: 1 } });
    assert.equal(status, 200);
    assert.deepEqual(json(await readers[1].has('signal', 1)), [{ from: names[0], signal: { candidate: 1 } }]);

    readers[2].close();
    for (const reader of readers.slice(0, 2)) {
      await until('two peers', () => here(reader).length === 2);
      assert.deepEqual(here(reader).toSorted(), names.slice(0, 2).toSorted());
    }
    assert.equal((await server.post(`/peers/${names[2]}`, { key: 'a', signal: {} })).status, 404);
    assert.deepEqual([readers[0].data('signal'), readers[2].data('signal')], [[], []]);
  });
}

test('two tabs in a browser, a data channel, and a kill', LIMIT, async (t) => {
  const server = await servers.Fanfare(t);
  const browser = await startBrowser(t, ['--disable-features=WebRtcHideLocalIpsWithMdns', '--allow-loopback-in-peer-connection']);
  const context = await browser.newContext();
  const [ann, bob] = [await openPage(context, server.url), await openPage(context, server.url)];
  const send = async (page, form, text) => {
    await page.fill(`#${form} input`, text);
    await page.click(`#${form} button`);
  };
  for (const page of [ann, bob]) await state(page, 'Connected');
  await until('each to see the other', async () => {
    const seen = await Promise.all([ann, bob].map((page) => texts(page, '#peers button')));
    return seen.every((names) => names.length === 1);
  });
  assert.match(await ann.textContent('#greeting'), /^Welcome, [0-9a-f]{12}, at /);
  await send(ann, 'form', 'Hello over the server');
  await shows(bob, '#said li', ['Hello over the server']);

  await ann.click('#peers button');
  for (const page of [ann, bob]) await page.waitForSelector('#directText:enabled');
  await send(ann, 'directForm', 'Hello, past the server');
  await shows(bob, '#direct li', ['Hello, past the server']);
  await send(bob, 'directForm', 'I hear you');
  await shows(ann, '#direct li', ['Hello, past the server', 'I hear you']);
  await send(bob, 'form', 'We have a data channel now');
  await shows(ann, '#said li', ['Hello over the server', 'We have a data channel now']);
  await screenshot(ann, 'signalling', { width: 900, height: 520 });

  // The server dies: the channel does not need it, and the pages find it again.
  await server.kill();
  for (const page of [ann, bob]) await state(page, 'Connecting...');
  await send(ann, 'directForm', 'Still here');
  await shows(bob, '#direct li', ['Hello, past the server', 'I hear you', 'Still here']);
  await server.again();
  for (const page of [ann, bob]) await state(page, 'Connected');
  await until('each to see the other again', async () => {
    const seen = await Promise.all([ann, bob].map((page) => texts(page, '#peers button')));
    return seen.every((names) => names.length === 1);
  });
  await send(bob, 'form', 'After the restart');
  await shows(ann, '#said li', ['Hello over the server', 'We have a data channel now', 'After the restart']);

  // A tab is closed: nobody is left.
  await bob.close();
  await shows(ann, '#peers li', ['Nobody else']);
  await until('the channel to close', async () => (await ann.textContent('#channel')).endsWith('closed'));
  assert.deepEqual([...ann.faults, ...bob.faults], []);
});
