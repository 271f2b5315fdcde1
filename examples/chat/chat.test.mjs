// The chat in Node, Python and C, and by hand: the same URLs, the same page, the same tests.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

import {
  LIMIT, ROOT, Server, certificate, file, freePort, openPage, screenshot, setting, shows, startBrowser, state, until,
} from '../test/support.mjs';

const library = dirname(setting('FANFARE_LIBRARY'));
let built;

before(() => {
  built = mkdtempSync(join(tmpdir(), 'fanfare-chat-'));
  execFileSync('cc', ['-std=c11', '-Wall', '-Wextra', '-Werror', '-O1', `-I${join(ROOT, 'include')}`, file('chat/server.c'),
    `-L${library}`, '-lfanfare', '-pthread', `-Wl,-rpath,${library}`, '-o', join(built, 'chat')], { stdio: 'inherit' });
});
after(() => rmSync(built, { recursive: true }));

const servers = {
  Node: (t, env) => Server.start(t, ['node', file('chat/server.mjs')], { env }),
  Python: async (t) => Server.start(t, [
    setting('FANFARE_PYTHON'), '-m', 'uvicorn', '--app-dir', file('chat'), 'server:app', '--port', '{port}',
  ], { port: await freePort() }),
  C: (t) => Server.start(t, ['sh', '-c', `cd '${file('chat')}' && exec '${join(built, 'chat')}'`]),
  'Node by hand': (t, env) => Server.start(t, ['node', file('by-hand/chat.mjs')], { env }),
};
const say = async (server, body) => {
  const { status } = await server.ask('/chat', { method: 'POST', body });
  assert.equal(status, 204);
};

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: messages of several lines arrive whole`, LIMIT, async (t) => {
    const server = await start(t);
    const reader = await server.read(t, '/chat');
    const endings = ['one\ntwo\nthree\n\nfive', 'one\r\ntwo\r\n\r\nfour', 'one\rtwo\r\rfour', '\nbetween\n', 'data: not a field\nid: 1'];
    for (const text of endings) await say(server, text);
    assert.deepEqual(await reader.has('chat', endings.length), endings.map((text) => text.replaceAll(/\r\n?/g, '\n')));
    assert.deepEqual(reader.data('message'), []);
  });

  test(`${name}: who comes while others talk misses nothing and gets nothing twice`, LIMIT, async (t) => {
    const server = await start(t);
    const [count, readers] = [300, []];
    for (let number = 0; number < count; number += 1) {
      // Readers come in the middle of it, without waiting for each other.
      if (number % 30 === 7) readers.push(server.read(t, '/chat?replay=50'));
      await say(server, String(number));
    }
    for (const reader of await Promise.all(readers)) {
      await until('the last', () => reader.data('chat').at(-1) === String(count - 1));
      const got = reader.data('chat').map(Number);
      assert.deepEqual(got, got.map((_, at) => got[0] + at), 'one after the other, none twice');
    }
    // Who was cut goes on exactly there.
    const cut = (await readers[3]).events[20];
    const again = await server.read(t, '/chat', { lastEventId: cut.id });
    const missed = count - 1 - Number(cut.data);
    assert.deepEqual((await again.has('chat', missed)).map(Number), Array.from({ length: missed }, (_, at) => Number(cut.data) + 1 + at));
  });

  test(`${name}: who does not read, or leaves in the middle of a message, is nobody's loss`, LIMIT, async (t) => {
    const server = await start(t);
    const reader = await server.read(t, '/chat');
    const sockets = await Promise.all(['GET /chat', 'GET /chat', 'POST /chat'].map(async (line) => {
      const socket = connect(server.port, '127.0.0.1');
      t.after(() => socket.destroy());
      await once(socket, 'connect');
      socket.pause();
      socket.write(`${line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${line.startsWith('POST') ? '9\r\n\r\nhalf' : '0\r\n\r\n'}`);
      return socket;
    }));
    // More than sockets and buffers take.
    const texts = Array.from({ length: 600 }, (_, number) => `${number} ${'x'.repeat(9_000)}`);
    for (const text of texts) await say(server, text);
    sockets[2].destroy();
    await say(server, 'the last');
    assert.deepEqual(await reader.has('chat', 601), [...texts, 'the last']);
  });

  test(`${name}: what is too long is refused`, LIMIT, async (t) => {
    const server = await start(t);
    const { status } = await server.ask('/chat', { method: 'POST', body: 'x'.repeat(10_001) });
    assert.equal(status, 413);
    assert.equal((await server.ask('/nowhere')).status, 404);
  });
}

for (const name of ['Node', 'Python', 'C']) {
  test(`${name}: two people in a browser, through a kill`, LIMIT, async (t) => {
    const server = await servers[name](t);
    const context = await (await startBrowser(t)).newContext();
    const [ann, bob] = [await openPage(context, server.url), await openPage(context, server.url)];
    const send = async (page, text) => {
      await page.fill('#text', text);
      await page.click('button');
    };
    const both = async (...wanted) => {
      for (const page of [ann, bob]) await shows(page, '#said li', wanted);
    };
    for (const page of [ann, bob]) await state(page, 'Connected');
    await send(ann, 'Hello <b>Bob</b>');
    await both('Hello <b>Bob</b>');
    await send(bob, 'Hi!\nTwo lines,\n\nand one more.');
    await both('Hello <b>Bob</b>', 'Hi!\nTwo lines,\n\nand one more.');
    if (name === 'Node') await screenshot(ann, 'chat', { width: 760, height: 400 });

    await server.kill();
    for (const page of [ann, bob]) await state(page, 'Connecting...');
    await server.again();
    // Before the pages are back: they resume, are told that the history began anew, and get this.
    await say(server, 'While you were away');
    for (const page of [ann, bob]) await state(page, 'Connected');
    const note = 'The server has started anew. What is above is all it knew.';
    await both('Hello <b>Bob</b>', 'Hi!\nTwo lines,\n\nand one more.', note, 'While you were away');
    await send(bob, 'Back');
    await both('Hello <b>Bob</b>', 'Hi!\nTwo lines,\n\nand one more.', note, 'While you were away', 'Back');
    assert.deepEqual([...ann.faults, ...bob.faults], []);
  });
}

// Browsers speak HTTP/2 over TLS only.
const secure = {
  Node: (t, tls) => servers.Node(t, { ...tls, NODE_NO_WARNINGS: '1' }),
  Python: async (t, tls) => Server.start(t, [
    'sh', '-c', `cd '${file('chat')}' && exec "$0" "$@"`, setting('FANFARE_PYTHON'), '-m', 'hypercorn',
    '--keyfile', tls.TLS_KEY, '--certfile', tls.TLS_CERT, '--bind', '127.0.0.1:{port}', 'server:app',
  ], { port: await freePort() }),
};

for (const [name, start] of Object.entries(secure)) {
  test(`${name}: twelve tabs on HTTP/2, where HTTP/1.1 has room for six`, LIMIT, async (t) => {
    const server = await start(t, certificate(t));
    const context = await (await startBrowser(t)).newContext({ ignoreHTTPSErrors: true });
    const pages = await Promise.all(Array.from({ length: 12 }, () => openPage(context, server.url)));
    for (const page of pages) await state(page, 'Connected');
    assert.equal(await pages[0].evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2');
    await pages[11].fill('#text', 'to all of you');
    await pages[11].click('button');
    for (const page of pages) await shows(page, '#said li', ['to all of you']);
  });
}
