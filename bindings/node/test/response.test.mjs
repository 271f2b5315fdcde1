// Fetch-style servers: a Response whose body is pulled.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { hubFor, thrown, until } from './support.mjs';

const request = (init = {}, query = '') => new Request(`http://localhost/events${query}`, init);

/** Reads until `text` has come. */
async function readTo(reader, text) {
  let seen = '';
  while (!seen.includes(text)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`ended after ${seen}`);
    seen += Buffer.from(value).toString();
  }
  return seen;
}

test('a response streams, resumes and is cancelled', async (t) => {
  const hub = await hubFor(t);
  const told = [];
  hub.on('connect', ({ handedOff }) => told.push(`connect ${handedOff}`));
  hub.on('disconnect', (stream, reason) => told.push(`disconnect ${reason}`));
  const response = hub.response(request(), { topics: ['t'], client: 'me', headers: { 'X-Own': 'added', 'Content-Type': 'text/html' } });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  assert.equal(response.headers.get('x-own'), 'added');
  const reader = response.body.getReader();
  const id = hub.publish('t', 'one');
  hub.publish('t', 'two');
  await readTo(reader, 'two');
  for (const resumed of [request({ headers: { 'Last-Event-ID': id } }), request({}, `?last_event_id=${id}`)]) {
    const again = hub.response(resumed, { topics: 't' }).body.getReader();
    assert.doesNotMatch(await readTo(again, 'two'), /one/);
    await again.cancel();
  }
  await reader.cancel();
  await until('everybody told', () => told.length === 6);
  assert.deepEqual(told.slice(0, 2), ['connect false', 'connect false']);
  assert.equal(hub.stats().subscriptions, 0);
});

test('nothing is read ahead of its consumer', async (t) => {
  const hub = await hubFor(t, { 'history.events': 10, lag: 'skip' });
  const reader = hub.response(request(), { topics: 't' }).body.getReader();
  for (let n = 0; n < 10_000; n += 1) hub.publish('t', `${n}.`);
  const text = await readTo(reader, '9999.');
  assert.match(text, /fanfare\.gap/);
  assert.doesNotMatch(text, /\b5000\./);
  await reader.cancel();
});

test('it ends by a stop, a closed topic, an abort and the garbage collector', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const hub = await hubFor(t);
  const controller = new AbortController();
  const aborted = hub.response(request({ signal: controller.signal }), { topics: 't' }).body.getReader();
  await aborted.read();
  controller.abort();
  assert.equal((await aborted.read()).done, true);

  (() => {
    for (let n = 0; n < 50; n += 1) hub.response(request(), { topics: 't' });
  })();
  await until('garbage', () => {
    collect();
    return hub.stats().subscriptions === 0;
  });

  const waiting = hub.response(request(), { topics: 't' }).body.getReader();
  await waiting.read();
  const next = waiting.read();
  hub.closeTopic('t');
  assert.equal((await next).done, true);
  assert.equal(hub.response(request(), { topics: 't' }).status, 204);
  assert.equal(hub.response(request({ headers: { 'Last-Event-ID': 'x'.repeat(2_000) } }), { topics: 'u' }).status, 400);
  assert.equal(hub.response(request({ method: 'HEAD' }), { topics: 'u' }).body, null);

  const last = hub.response(request(), { topics: 'u' }).body.getReader();
  await last.read();
  const end = last.read();
  await hub.stop({ timeout: 0 });
  assert.equal((await end).done, true);
  assert.equal(thrown(() => hub.response(request(), { topics: 'u' })).code, 'stopping');
});
