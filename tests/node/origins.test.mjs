// Pages of other places, in a real browser: who may read, who may write, whatever they try.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { BRISK, settings } from './cutting.mjs';
import { startBrowser, startHub, until } from './support.mjs';

const LIMIT = { timeout: 150_000 };

let browser;
/** Two other places: one that hubs here list, one that none does. */
let listed;
let foreign;

before(async () => {
  [browser, listed, foreign] = await Promise.all([startBrowser(), startSite(), startSite()]);
});
after(async () => {
  await browser?.close();
  listed?.server.close();
  foreign?.server.close();
});

async function startSite() {
  const server = createServer((_, answer) => {
    answer.setHeader('Content-Type', 'text/html');
    answer.end('<!doctype html><title>a page</title>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  return { server, origin: `http://127.0.0.1:${port}`, crossSite: `http://evil.localhost:${port}` };
}

async function startListingHub(t, credentials) {
  const args = [...BRISK, ...settings({ 'cors.origins': listed.origin, 'cors.credentials': credentials })];
  const hub = await startHub({ args });
  t.after(() => hub.stop('SIGKILL'));
  return hub;
}

async function openAt(t, url) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** What a page can get from a stream: 'read' or 'refused', by EventSource and by fetch with an id. */
function tryReading(page, url, credentials) {
  return page.evaluate(async ([target, withCredentials]) => {
    const bySource = await new Promise((resolve) => {
      const source = new EventSource(target, { withCredentials });
      const done = (outcome) => {
        source.close();
        resolve(outcome);
      };
      source.onmessage = (event) => done(event.data === 'secret' ? 'read' : event.data);
      source.onerror = () => done('refused');
    });
    const byFetch = await (async () => {
      const control = new AbortController();
      try {
        const answer = await fetch(target, {
          headers: { 'Last-Event-ID': 'unknown~1' },
          credentials: withCredentials ? 'include' : 'omit',
          signal: control.signal,
        });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = '';
        while (!text.includes('secret')) text += (await reader.read()).value;
        return 'read';
      } catch {
        return 'refused';
      } finally {
        control.abort();
      }
    })();
    return { bySource, byFetch };
  }, [url, credentials]);
}

for (const allowed of [false, true]) {
  test(`reading, with cors.credentials=${allowed}`, LIMIT, async (t) => {
    const hub = await startListingHub(t, allowed);
    await hub.publish('t', 'secret');
    const url = `${hub.url}/events/t?replay=all`;
    const all = (outcome) => ({ bySource: outcome, byFetch: outcome });
    const table = [
      { who: 'own', page: `${hub.url}/healthz`, plain: 'read', credentials: 'read' },
      { who: 'listed', page: listed.origin, plain: 'read', credentials: allowed ? 'read' : 'refused' },
      { who: 'foreign', page: foreign.origin, plain: 'refused', credentials: 'refused' },
      { who: 'cross-site', page: listed.crossSite, plain: 'refused', credentials: 'refused' },
    ];
    for (const row of table) {
      const page = await openAt(t, row.page);
      assert.deepEqual(await tryReading(page, url, false), all(row.plain), `${row.who}, without credentials`);
      assert.deepEqual(await tryReading(page, url, true), all(row.credentials), `${row.who}, with credentials`);
    }
  });

  test(`headers for origins, with cors.credentials=${allowed}`, LIMIT, async (t) => {
    const hub = await startListingHub(t, allowed);
    const origins = [listed.origin, foreign.origin, 'null', `${listed.origin}.evil.example`, 'http://127.0.0.1', '*'];
    for (const [method, path] of [['GET', '/events/t'], ['OPTIONS', '/events/t'], ['GET', '/stats'], ['GET', '/nowhere'], ['POST', '/events/t?id=%20']]) {
      for (const origin of origins) {
        const headers = { Origin: origin };
        if (method === 'OPTIONS') {
          headers['Access-Control-Request-Method'] = 'GET';
          headers['Access-Control-Request-Headers'] = 'last-event-id';
        }
        const control = new AbortController();
        const answer = await fetch(hub.url + path, { method, headers, signal: control.signal });
        const what = `${method} ${path} from ${origin}`;
        const trusted = origin === listed.origin;
        assert.equal(answer.headers.get('access-control-allow-origin'), trusted ? origin : null, what);
        assert.equal(answer.headers.get('access-control-allow-credentials'), trusted && allowed ? 'true' : null, what);
        assert.match(answer.headers.get('vary') ?? '', /origin/i, what);
        if (method === 'OPTIONS') {
          assert.ok(answer.status === 204 || answer.status === 200, what);
          assert.equal(/last-event-id/i.test(answer.headers.get('access-control-allow-headers') ?? ''), trusted, what);
        }
        control.abort();
      }
    }
  });
}

/** Everything a page may try to change something at `base`; resolves when all has been sent and answered, or refused. */
async function tryWriting(page, base) {
  await page.evaluate(async (hub) => {
    const url = `${hub}/events/t`;
    const attempts = [];
    for (const credentials of ['omit', 'include']) {
      for (const mode of ['no-cors', 'cors']) {
        for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/x-ndjson', 'application/json']) {
          attempts.push(fetch(url, { method: 'POST', mode, credentials, body: '{"data":"forged"}', headers: { 'Content-Type': type } }));
        }
        attempts.push(fetch(url, { method: 'POST', mode, credentials, body: new Blob(['forged']) }));
        attempts.push(fetch(url, { method: 'POST', mode, credentials, body: new URLSearchParams({ data: 'forged' }) }));
        attempts.push(fetch(url, { method: 'POST', mode, credentials, body: 'forged', referrerPolicy: 'no-referrer' }));
      }
      attempts.push(fetch(url, { method: 'DELETE', mode: 'cors', credentials }));
    }
    navigator.sendBeacon(url, 'forged');
    navigator.sendBeacon(url, new URLSearchParams({ data: 'forged' }));
    await Promise.allSettled(attempts);

    // Forms, each into a frame of its own: plain frames, and one whose origin is opaque.
    const submitted = [];
    for (const enctype of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const frame = document.createElement('iframe');
      frame.name = `frame-${enctype}`;
      document.body.append(frame);
      const form = document.createElement('form');
      Object.assign(form, { action: url, method: 'post', enctype, target: frame.name });
      const field = document.createElement('input');
      Object.assign(field, { name: 'data', value: 'forged' });
      form.append(field);
      document.body.append(form);
      submitted.push(new Promise((resolve) => { frame.onload = resolve; }));
      form.submit();
    }
    await Promise.all(submitted);
    const opaque = document.createElement('iframe');
    opaque.sandbox = 'allow-scripts';
    const told = new Promise((resolve) => { window.onmessage = resolve; });
    opaque.srcdoc = `<script>fetch(${JSON.stringify(url)}, { method: 'POST', mode: 'no-cors', body: 'forged' })
      .catch(() => {}).finally(() => parent.postMessage('sent', '*'));</script>`;
    document.body.append(opaque);
    await told;
  }, base);
}

test('no foreign page publishes or closes', LIMIT, async (t) => {
  const hub = await startListingHub(t, true);
  for (const where of [foreign.origin, foreign.crossSite, listed.crossSite]) {
    const page = await openAt(t, where);
    // With a cookie of the hub's host, too: cookies know no ports.
    await page.context().addCookies([{ name: 'session', value: 'x', url: hub.url, sameSite: 'Lax' }]);
    const refusals = [];
    page.on('response', (answer) => {
      if (answer.url().startsWith(hub.url) && answer.request().method() === 'POST') refusals.push(answer.status());
    });
    await tryWriting(page, hub.url);
    const stats = await hub.stats();
    assert.equal(stats.events.published, 0, where);
    assert.equal(stats.topics.count, 0, where);
    // They did arrive: it was the hub that refused.
    await until('refusals', () => refusals.length > 5);
    assert.deepEqual([...new Set(refusals)], [403], where);
  }
});

test('own and listed pages publish and close', LIMIT, async (t) => {
  const hub = await startListingHub(t, false);
  for (const where of [`${hub.url}/healthz`, listed.origin]) {
    const page = await openAt(t, where);
    const statuses = await page.evaluate(async (url) => {
      const posted = await fetch(url, { method: 'POST', body: 'x' });
      const batch = await fetch(url, {
        method: 'POST',
        body: '{"data":"y"}\n',
        headers: { 'Content-Type': 'application/x-ndjson' },
      });
      const closed = await fetch(url, { method: 'DELETE' });
      return [posted.status, batch.status, (await closed.json()).closed];
    }, `${hub.url}/events/t${encodeURIComponent(where)}`);
    assert.deepEqual(statuses, [200, 200, true], where);
  }
  assert.equal((await hub.stats()).events.published, 4);
});
