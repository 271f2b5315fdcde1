// Streams on the web servers of others: the socket is handed over where that is possible, and written by the host elsewhere.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as http from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';

import { Client, HOSTS, certificate } from './hosts.mjs';
import { hubFor, thrown, until } from './support.mjs';

const tls = certificate();
const COUNT = 200;

/** A host whose route streams the topic of `?topic=`, and everything it was told. */
async function host(t, hub, name, options = {}) {
  const seen = { responses: [], closed: 0, streams: [], errors: [] };
  const running = await HOSTS[name]((req, res) => {
    const raw = res.raw ?? res;
    seen.responses.push(raw);
    raw.on('close', () => { seen.closed += 1; });
    try {
      seen.streams.push(hub.accept(req, res, { topics: 't', ...options }));
    } catch (error) {
      seen.errors.push(error);
      res.statusCode = 500;
      res.end();
    }
  }, tls);
  t.after(() => running.close());
  return { ...running, seen };
}

const PLAIN = ['http', 'express', 'fastify', 'fastify, hijacked by the route'];
const WRITTEN = [...PLAIN.map((name) => [name, { handoff: false }]), ['https', {}], ['http2', {}]];

/** Headers that have to be there whoever writes them. */
function assertHead(client) {
  assert.equal(client.status, 200);
  assert.equal(client.headers['content-type'], 'text/event-stream');
  assert.equal(client.headers['cache-control'], 'no-cache, no-store, no-transform');
  assert.equal(client.headers['access-control-allow-origin'], 'https://page.example');
  assert.deepEqual(client.headers['set-cookie'], ['a=1', 'b=2']);
  assert.equal(client.headers['x-own'], 'added');
}

const openOn = (name, url, headers) => (name === 'http2' ? Client.open2(url, '/events', headers)
  : Client.open(`${url}/events`, { headers }));

for (const [name, options, handedOff] of [...PLAIN.map((name) => [name, {}, true]), ...WRITTEN.map((each) => [...each, false])]) {
  const how = handedOff ? 'handed over' : 'written by the host';
  test(`${name}, ${how}: events, headers, resume, both ends`, async (t) => {
    const hub = await hubFor(t);
    const told = [];
    hub.on('connect', (stream) => told.push(['connect', stream]));
    hub.on('disconnect', (stream, reason) => told.push(['disconnect', stream, reason]));
    const { url, connections, server, seen } = await host(t, hub, name, { ...options, client: 'me', headers: { 'X-Own': 'added' } });

    const client = await openOn(name, url);
    assertHead(client);
    assert.deepEqual(told.map(([what]) => what), ['connect']);
    const [stream] = seen.streams;
    assert.deepEqual([stream.handedOff, stream.client, stream.topics, stream.closed], [handedOff, 'me', ['t'], false]);
    if (handedOff) {
      await until('a closed response', () => seen.closed === 1);
      assert.equal(await connections(), 0);
      server.closeAllConnections();
    }
    const texts = ['one', 'two\nlines', 'ä€😀', 'x'.repeat(300_000)];
    for (const text of texts) hub.publish('t', text);
    hub.publish('t', 'not for me', { except: 'me' });
    hub.publish('t', 'last');
    assert.deepEqual(await client.has(5), [...texts, 'last']);

    // It comes back after the fourth.
    const third = await openOn(name, url, { 'Last-Event-ID': [...client.text.matchAll(/^id: ?(.*)$/gm)][2][1] });
    assert.deepEqual(await third.has(2), [texts[3], 'last']);
    third.close();
    await until('a reader that left', () => told.some(([what, who]) => what === 'disconnect' && who === seen.streams[1]));
    assert.equal(seen.streams[1].closed, true);

    stream.close();
    await client.end();
    await until('an end', () => stream.closed);
    stream.close();
    // What is no stream is served as before.
    if (name !== 'http2') assert.equal((await Client.open(`${url}/plain`)).status, 200);

    const last = await openOn(name, url);
    await hub.stop({ timeout: 500 });
    await last.end();
    await until('a stop', () => told.length === 6);
    assert.equal(seen.streams[2].closed, true);
    const refused = await openOn(name, url).catch((error) => error);
    assert.ok(seen.errors.at(-1)?.code === 'stopping' || refused.status === 503);
  });

  test(`${name}, ${how}: a closed topic is answered by 204, and hostile requests by nothing worse`, async (t) => {
    const hub = await hubFor(t);
    const { url, seen } = await host(t, hub, name, options);
    assert.equal((await openOn(name, url, { 'Last-Event-ID': 'x'.repeat(5_000) })).status, 400);
    for (const id of ['a b', '\u00ff\u00fe', '-1', '../..', '"']) {
      const client = await openOn(name, url, { 'Last-Event-ID': id });
      assert.equal(client.status, 200);
      hub.publish('t', 'x');
      await client.has(1);
      client.close();
    }
    assert.deepEqual(seen.errors, []);
    hub.closeTopic('t');
    const client = await openOn(name, url);
    client.close();
    assert.equal(client.status, 204);
  });
}

for (const name of ['http', 'express', 'fastify']) {
  test(`${name}: two hundred at once, and each gets everything`, async (t) => {
    const hub = await hubFor(t);
    const { url, connections, seen } = await host(t, hub, name);
    const clients = await Promise.all(Array.from({ length: COUNT }, () => Client.open(`${url}/events`)));
    assert.ok(seen.streams.every((stream) => stream.handedOff));
    const expected = Array.from({ length: 50 }, (_, n) => String(n));
    for (const data of expected) hub.publish('t', data);
    for (const client of clients) assert.deepEqual(await client.has(expected.length), expected);
    assert.equal(await connections(), 0);
    let gone = 0;
    hub.on('disconnect', () => { gone += 1; });
    for (const client of clients) client.close();
    await until('everybody gone', () => gone === COUNT);
    assert.equal(hub.stats().subscriptions, 0);
  });
}

test('a reader that takes nothing costs history, not memory, and others go on', async (t) => {
  const hub = await hubFor(t, { 'history.events': 50, lag: 'skip' });
  for (const [name, options] of [['http', { handoff: false }], ['https', {}], ['http2', {}]]) {
    const { url, seen } = await host(t, hub, name, options);
    const slow = await openOn(name, url);
    slow.response.pause();
    const quick = await openOn(name, url);
    const payload = 'x'.repeat(2_000);
    for (let n = 0; n < 10_000; n += 1) {
      hub.publish('t', `${n} ${payload}`);
      if (n % 20 === 0) await new Promise(setImmediate);
    }
    const [response] = seen.responses;
    const held = (response.stream ?? response).writableLength + response.socket.writableLength;
    // A pull or two, of twenty megabytes that were published.
    assert.ok(held < 1 << 20, `${name}: ${held} bytes for a reader that takes nothing`);
    await until('the newest event', () => quick.text.slice(-3_000).includes('9999 x'));
    slow.response.resume();
    await until('the newest event, late', () => slow.text.slice(-3_000).includes('9999 x'));
    assert.ok(slow.text.includes('fanfare.gap'));
    slow.close();
    quick.close();
  }
});

test('a greeting comes first, whoever writes', async (t) => {
  const hub = await hubFor(t);
  for (const data of ['one', 'two']) hub.publish('t', data, { event: 'update' });
  const greeting = { event: 'notice', data: 'hello' };
  for (const [name, options] of [['http', {}], ['express', {}], ['http', { handoff: false }], ['https', {}]]) {
    const { url, seen } = await host(t, hub, name, { ...options, replay: 'all', greeting });
    const client = await Client.open(`${url}/events`);
    assert.deepEqual(await client.has(3), ['hello', 'one', 'two']);
    assert.match(client.text, /^event: ?notice\ndata: ?hello\n\n/m);
    assert.equal(seen.streams[0].handedOff, name !== 'https' && options.handoff !== false);
    client.close();
  }
});

test('why a stream that was handed over has ended is told', async (t) => {
  const hub = await hubFor(t, { 'history.events': 5 });
  const { url } = await host(t, hub, 'http');
  const told = [];
  hub.on('disconnect', (stream, reason) => told.push([stream.handedOff, reason]));
  const slow = await Client.open(`${url}/events`);
  slow.response.pause();
  const payload = 'x'.repeat(100_000);
  // As much as no buffer between the two takes. Where it stands is looked at when it takes something again, if not before.
  for (let n = 0; n < 400; n += 1) {
    hub.publish('t', payload);
    if (n % 10 === 0) await new Promise(setImmediate);
  }
  slow.response.resume();
  await until('an end', () => told.length === 1);
  assert.deepEqual(told, [[true, 'lapped']]);
  slow.close();

  const left = await Client.open(`${url}/events`);
  left.close();
  await until('another end', () => told.length === 2);
  const last = await Client.open(`${url}/events`);
  await hub.stop({ timeout: 0 });
  await last.end();
  await until('the last end', () => told.length === 3);
  assert.deepEqual(told.slice(1), [[true, 'ok'], [true, 'stopping']]);
});

test('HTTP/1.0, HEAD, keep-alive, and a URL that resumes', async (t) => {
  const hub = await hubFor(t);
  const { url, seen } = await host(t, hub, 'http');
  const first = hub.publish('t', 'before');
  hub.publish('t', 'after');
  const raw = async (request) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    let text = '';
    socket.setEncoding('utf8').on('data', (data) => { text += data; }).on('error', () => {});
    socket.write(request);
    await until('an answer', () => text.includes('\r\n\r\n'));
    return { socket, get text() { return text; } };
  };
  const old = await raw(`GET /events?last_event_id=${first} HTTP/1.0\r\n\r\n`);
  await until('an event', () => old.text.includes('data: after') || old.text.includes('data:after'));
  assert.doesNotMatch(old.text, /transfer-encoding/i);

  const both = await raw(`GET /events?last_event_id=nonsense HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ${first}\r\n\r\n`);
  await until('an event', () => /data: ?after/.test(both.text));
  assert.doesNotMatch(both.text, /fanfare\.gap/, 'the header goes before the URL');

  const head = await Client.open(`${url}/events`, { method: 'HEAD' });
  assert.equal(head.headers['content-type'], 'text/event-stream');
  assert.equal(seen.streams.at(-1), null);

  // The second request of a connection, behind one that was answered by the host.
  const second = await raw('GET /plain HTTP/1.1\r\nHost: a\r\n\r\n');
  second.socket.write('GET /events HTTP/1.1\r\nHost: a\r\n\r\n');
  await until('a stream', () => second.text.includes('text/event-stream'));
  hub.publish('t', 'to the second');
  await until('an event', () => second.text.includes('to the second'));

  // Two requests at once: what is behind a stream is never answered, and hurts nobody.
  const piped = await raw('GET /events HTTP/1.1\r\nHost: a\r\n\r\nGET /plain HTTP/1.1\r\nHost: a\r\n\r\n');
  hub.publish('t', 'piped');
  await until('an event', () => piped.text.includes('piped'));

  // Other texts than ASCII in a header are written by the host, byte for byte as Node would.
  const odd = http.createServer((req, res) => {
    res.setHeader('X-Name', 'caf\u00e9');
    hub.accept(req, res, { topics: 't' });
  }).listen(0, '127.0.0.1');
  await once(odd, 'listening');
  t.after(() => odd.closeAllConnections() ?? odd.close());
  const client = await Client.open(`http://127.0.0.1:${odd.address().port}/`);
  assert.equal(client.headers['x-name'], 'caf\u00e9');
});

test('a request whose body is under way is written by the host', async (t) => {
  const hub = await hubFor(t);
  const { url, seen } = await host(t, hub, 'http');
  const request = http.request(`${url}/events`, { method: 'POST', headers: { 'Content-Length': 10 }, agent: false });
  request.on('error', () => {});
  request.write('12345');
  const [response] = await once(request, 'response');
  assert.equal(seen.streams[0].handedOff, false);
  hub.publish('t', 'x');
  const [bytes] = await once(response, 'data');
  assert.ok(bytes.length > 0);
  request.destroy();
});

test('accept refuses what it cannot do, and touches nothing', async (t) => {
  const hub = await hubFor(t);
  const server = http.createServer((req, res) => {
    const errors = [
      thrown(() => hub.accept(req, res)),
      thrown(() => hub.accept(req, res, { topics: [] })),
      thrown(() => hub.accept(req, res, { topics: 'a\nb' })),
      thrown(() => hub.accept(req, res, { topics: 't', client: '' })),
      thrown(() => hub.accept(req, res, { topics: 't', topisc: 't' })),
      thrown(() => hub.accept({}, {}, { topics: 't' })),
      thrown(() => hub.accept(req, res, { topics: 't', headers: { 'a b': 'x' } })),
      thrown(() => hub.accept(req, res, { topics: 't', headers: { 'x-a': 'x\r\ny: z' } })),
    ];
    res.write('mine');
    errors.push(thrown(() => hub.accept(req, res, { topics: 't' })));
    res.end(JSON.stringify(errors.map(({ code }) => code)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const response = await fetch(`http://127.0.0.1:${server.address().port}/`);
  assert.deepEqual(JSON.parse((await response.text()).slice(4)), ['ERR_INVALID_ARG_TYPE', 'invalid_topic', 'invalid_topic',
    'invalid_client', 'ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_TYPE', 'ERR_INVALID_HTTP_TOKEN', 'ERR_INVALID_CHAR',
    'ERR_HTTP_HEADERS_SENT']);
  assert.equal(hub.stats().subscriptions, 0);
});

test('revoke ends the streams of a client, of whatever kind', async (t) => {
  const hub = await hubFor(t);
  const mine = await Promise.all([host(t, hub, 'http', { client: 'ann' }), host(t, hub, 'https', { client: 'ann' })]);
  const others = await host(t, hub, 'http', { client: 'bob' });
  const clients = await Promise.all(mine.map(({ url }) => Client.open(`${url}/events`)));
  const bob = await Client.open(`${others.url}/events`);
  hub.revoke('ann');
  for (const client of clients) await client.end();
  hub.publish('t', 'x');
  assert.deepEqual(await bob.has(1), ['x']);
  assert.equal(thrown(() => hub.revoke('')).code, 'invalid_client');
});
