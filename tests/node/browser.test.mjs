// A real browser's EventSource: over HTTP/1.1 and over HTTP/2 with TLS, through cuts and a restart, in many tabs.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';

import { BRISK, CuttingProxy, certificate, numbers, plainPort, publishNumbers, randomCuts, tlsPort } from './cutting.mjs';
import { startBrowser, startHub, until } from './support.mjs';

const EVENTS = 10_000;
const HALF = EVENTS / 2;
const CUTS = 20;
const LIMIT = { timeout: 150_000 };

let browser;
let tls;

before(async () => {
  [browser, tls] = await Promise.all([startBrowser(), certificate()]);
});
after(async () => {
  await browser?.close();
  await tls?.remove();
});

/** An empty page of the place at `base`, so that its streams are of its own origin. */
async function blankPage(t, base) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${base}/healthz`);
  return page;
}

/** Starts an EventSource in the page; everything it gets lands in `window.streams[name]`. */
function listen(page, path, name = 'one') {
  return page.evaluate(([url, key]) => {
    const got = { numbers: [], ids: [], gaps: [], opened: 0 };
    const source = new EventSource(url);
    source.onopen = () => { got.opened += 1; };
    source.onmessage = (event) => {
      got.numbers.push(Number.parseInt(event.data, 10));
      got.ids.push(event.lastEventId);
    };
    source.addEventListener('fanfare.gap', (event) => {
      got.gaps.push({ place: got.numbers.length, id: event.lastEventId, told: JSON.parse(event.data) });
    });
    got.source = source;
    (window.streams ??= {})[key] = got;
  }, [path, name]);
}

/** How many numbers the stream has; fails if the browser has given it up. */
async function count(page, name = 'one') {
  const [length, state] = await page.evaluate((key) => {
    const { numbers: { length }, source } = window.streams[key];
    return [length, source.readyState];
  }, name);
  assert.notEqual(state, 2, `the browser gave up after ${length} events`);
  return length;
}

const result = (page, name = 'one') => page.evaluate((key) => {
  const { source, ...got } = window.streams[key];
  return got;
}, name);

const protocols = [
  { name: 'HTTP/1.1', version: 'http/1.1', scheme: 'http', port: plainPort },
  { name: 'HTTP/2 with TLS', version: 'h2', scheme: 'https', port: tlsPort },
];

for (const { name, version, scheme, port } of protocols) {
  test(`${name}: numbers survive cuts and a restart`, LIMIT, async (t) => {
    const args = [...BRISK, ...tls.args];
    let hub = await startHub({ args });
    t.after(() => hub.stop('SIGKILL'));
    const proxy = await CuttingProxy.start(port(hub));
    t.after(() => proxy.stop());
    const page = await blankPage(t, `${scheme}://${proxy.address}`);
    assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), version);

    await listen(page, '/events/t?replay=all');
    await publishNumbers(hub, 't', 0, 100);
    // Only now, when the page has been told how soon to come back: when its connection is cut, Chromium forgets what it has
    // received on HTTP/2 and not read yet, `retry:` too.
    await until('the first hundred', async () => await count(page) >= 100);
    // A head cut short may lack its type, and then a browser gives up: that is its rule, not ours. So not so early.
    // And a browser may open connections that it does not use: more are planned than are wanted.
    proxy.plan(randomCuts(7, CUTS + 5, 1_000, (EVENTS * 130) / CUTS));
    await publishNumbers(hub, 't', 100, HALF);
    await until('the first half', async () => await count(page) >= HALF);
    proxy.upstream = null;
    assert.equal(await hub.stop(), 0);
    hub = await startHub({ args });
    proxy.upstream = port(hub);
    await publishNumbers(hub, 't', HALF, EVENTS);
    await until('all numbers', async () => await count(page) >= EVENTS);

    const got = await result(page);
    assert.deepEqual(got.numbers, numbers(0, EVENTS));
    assert.equal(new Set(got.ids).size, EVENTS);
    assert.ok(proxy.cuts >= CUTS, `${proxy.cuts} cuts`);
    assert.ok(got.opened > CUTS / 2, `${got.opened} connections`);
    assert.equal(got.gaps.length, 1, 'one notice, for the restart');
    assert.equal(got.gaps[0].place, HALF);
    assert.equal(got.gaps[0].told.requested, got.ids[HALF - 1]);
  });
}

test('five tabs on HTTP/1.1', LIMIT, async (t) => {
  const hub = await startHub({ args: BRISK });
  t.after(() => hub.stop('SIGKILL'));
  const first = await blankPage(t, hub.url);
  const pages = [first];
  while (pages.length < 5) {
    const page = await first.context().newPage();
    await page.goto(`${hub.url}/healthz`);
    pages.push(page);
  }
  for (const page of pages) await listen(page, '/events/t?replay=all');
  await until('five streams', async () => (await hub.stats()).streams.h1 === 5);
  await publishNumbers(hub, 't', 0, 500);
  for (const page of pages) {
    await until('all numbers', async () => await count(page) >= 500);
    const got = await result(page);
    assert.deepEqual(got.numbers, numbers(0, 500));
    assert.deepEqual([got.gaps, got.opened], [[], 1]);
  }
  // A browser has six connections for one place; the sixth still serves a page.
  assert.equal(await first.evaluate(async () => (await fetch('/healthz')).status), 200);
});

test('thirty streams on one HTTP/2 connection', LIMIT, async (t) => {
  const hub = await startHub({ args: [...BRISK, ...tls.args] });
  t.after(() => hub.stop('SIGKILL'));
  const page = await blankPage(t, `https://127.0.0.1:${tlsPort(hub)}`);
  const names = numbers(0, 30).map(String);
  for (const name of names) await listen(page, '/events/t?replay=all', name);
  const { streams, connections } = await until('thirty streams', async () => {
    const stats = await hub.stats();
    return stats.streams.h2 === 30 && stats;
  });
  assert.equal(streams.h1, 0);
  // The browser's one, and that of `stats`.
  assert.ok(connections.open <= 3, `${connections.open} connections`);
  await publishNumbers(hub, 't', 0, 500);
  for (const name of names) {
    await until('all numbers', async () => await count(page, name) >= 500);
    const got = await result(page, name);
    assert.deepEqual(got.numbers, numbers(0, 500));
    assert.deepEqual([got.gaps, got.opened], [[], 1]);
  }
});

test('a hub that is full lets a browser come back', LIMIT, async (t) => {
  const places = 4;
  // A browser keeps a connection it may want again; it must not hold one of the places for long.
  const limits = ['--set', `limits.connections=${places}`, '--set', 'timeouts.idle=1s'];
  const hub = await startHub({ args: [...BRISK, ...limits] });
  t.after(() => hub.stop('SIGKILL'));
  const proxy = await CuttingProxy.start(plainPort(hub));
  t.after(() => proxy.stop());
  const page = await blankPage(t, `http://${proxy.address}`);
  // The page's connection goes, and others take every place.
  proxy.closeAll();
  const holders = [];
  t.after(() => holders.forEach((socket) => socket.destroy()));
  let taken = 0;
  await until('a full hub', async () => {
    const socket = connect(plainPort(hub), '127.0.0.1');
    holders.push(socket);
    socket.write('GET /events/other HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [answer] = await once(socket, 'data');
    // Places that others have left a moment ago are free a moment later.
    if (answer.includes(' 200 ')) taken += 1;
    return taken === places;
  });

  await listen(page, '/events/t?replay=all');
  // Refused with an answer that a browser takes for a stream that ended: it stays `CONNECTING`, and comes back in 5 to 15 seconds.
  await until('a refusal', async () => (await count(page), (await result(page)).opened > 0));
  for (const socket of holders) socket.destroy();
  await until('room to publish', async () => (await fetch(`${hub.url}/events/t`, { method: 'POST', body: '1' })).ok);
  await until('the event', async () => await count(page) === 1);
});
