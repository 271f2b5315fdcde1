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

test('why a stream has ended is told', async (t) => {
  const hub = await hubFor(t, { 'history.events': '5' });
  const told = [];
  hub.on('disconnect', (stream, reason) => told.push([stream.topics[0], stream.handedOff, reason]));
  const read = (topic) => hub.response(request(), { topics: topic }).body.getReader();

  const slow = read('slow');
  await slow.read();
  for (let n = 0; n < 50; n += 1) hub.publish('slow', String(n));
  let text = '';
  for (let { value, done } = await slow.read(); !done; { value, done } = await slow.read()) text += Buffer.from(value);
  assert.doesNotMatch(text, /data: ?49/);
  await until('an end', () => told.length === 1);
  assert.deepEqual(told, [['slow', false, 'lapped']]);

  const closed = read('closed');
  await closed.read();
  hub.closeTopic('closed');
  assert.equal((await closed.read()).done, true);
  await until('another end', () => told.length === 2);
  assert.deepEqual(told[1], ['closed', false, 'topic_closed']);

  const stopped = read('stopped');
  await stopped.read();
  const end = stopped.read();
  await hub.stop({ timeout: 0 });
  assert.equal((await end).done, true);
  await until('the last end', () => told.length === 3);
  assert.deepEqual(told[2], ['stopped', false, 'stopping']);
});

test('a greeting comes first, to this client alone, each time that it comes', async (t) => {
  const hub = await hubFor(t);
  const first = hub.publish('t', 'said before', { event: 'update' });
  const hello = { event: 'notice', data: { text: 'hello\nyou' }, retry: 700 };
  const reader = hub.response(request(), { topics: 't', replay: 'all', greeting: [hello, { data: 'again' }] }).body.getReader();
  const text = await readTo(reader, 'said before');
  const order = ['event: notice\nretry: 700\ndata: {"text":"hello\\nyou"}\n\n', 'data: again\n\n', 'event: update'].map((part) => text.indexOf(part));
  assert.deepEqual(order, order.toSorted((a, b) => a - b));
  assert.ok(order[0] > 0, text);
  assert.doesNotMatch(text.slice(0, order[2]), /^id:/m, 'what it resumes after is not touched');
  // Nobody else has got it, and no history has it.
  assert.equal(hub.stats().published, 1);
  const headers = { 'Last-Event-ID': first };
  const again = hub.response(request({ headers }), { topics: 't', greeting: hello }).body.getReader();
  const back = await readTo(again, 'notice');
  hub.publish('t', 'live');
  assert.doesNotMatch(back + await readTo(again, 'live'), /said before/);
  await reader.cancel();
  await again.cancel();

  for (const [greeting, code] of [
    [{ event: 'a\nb' }, 'invalid_event'], [{ event: 'fanfare.gap' }, 'invalid_event'], [{ event: '\ud800' }, 'invalid_event'],
    [{ data: '\ud800' }, 'invalid_data'], [{ retry: -1 }, 'invalid_retry'], [{ retry: 86_400_001 }, 'invalid_retry'],
    [Array(65).fill({}), 'invalid_parameter'], [{ data: 'x'.repeat(1 << 20) }, 'too_large'],
  ]) assert.equal(thrown(() => hub.response(request(), { topics: 't', greeting })).code, code, JSON.stringify(greeting).slice(0, 60));
  for (const greeting of ['hello', [7], { topic: 't', data: 'x' }, { id: 'x' }, { data: () => {} }, null]) {
    assert.throws(() => hub.response(request(), { topics: 't', greeting }), TypeError);
  }
  assert.equal(hub.stats().subscriptions, 0);
});
