// Reading in the process: order, resume, gaps, back-pressure, and every way to end.

import assert from 'node:assert/strict';
import { getEventListeners, once, setMaxListeners } from 'node:events';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { FanfareError } from 'fanfare';

import { hubFor, take, thrown, until } from './support.mjs';

// The whole of it is a long run on a small machine.
const EVENTS = process.env.FANFARE_SOAK ? 10_000 : 1_000;

test('a thousand readers get everything in order', async (t) => {
  const hub = await hubFor(t, { 'history.events': EVENTS, 'history.bytes': '64MiB' });
  const readers = Array.from({ length: 1_000 }, () => hub.subscribe('t'));
  let first = 0;
  const read = async (reader) => {
    let next = 0;
    for await (const { data } of reader) {
      if (data !== String(next)) throw new Error(`${data} instead of ${next}`);
      next += 1;
      if (next === EVENTS) break;
    }
    first += 1;
  };
  const done = Promise.all(readers.map(read));
  for (let n = 0; n < EVENTS; n += 1) hub.publish('t', String(n));
  await done;
  assert.equal(first, readers.length);
  assert.equal(hub.stats().subscriptions, 0, '`break` ends a subscription');
});

test('several topics, event types, and topics that come and go', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe(['a', 'b'], { events: ['wanted', 'message'] });
  hub.publish('a', '1', { event: 'wanted' });
  hub.publish('b', '2', { event: 'other' });
  hub.publish('b', '3');
  assert.deepEqual((await take(reader, 2)).map(({ data }) => data), ['1', '3']);
  assert.equal(reader.add('c'), true);
  assert.equal(reader.add('c'), false);
  assert.equal(reader.remove('a'), true);
  assert.equal(reader.remove('a'), false);
  hub.publish('a', '4');
  hub.publish('c', '5');
  assert.deepEqual((await take(reader, 1)).map(({ topic, data }) => [topic, data]), [['c', '5']]);
  await reader.return();
  assert.equal(thrown(() => reader.add('d')).code, 'stale_handle');
  assert.equal(reader.ended, 'stale_handle');
});

test('resume and replay', async (t) => {
  const hub = await hubFor(t);
  const ids = Array.from({ length: 10 }, (_, n) => hub.publish('t', String(n)));
  const from = async (options, count) => {
    const reader = hub.subscribe('t', options);
    const data = (await take(reader, count)).map((event) => event.data);
    await reader.return();
    return data;
  };
  assert.deepEqual(await from({ since: ids[6] }, 3), ['7', '8', '9']);
  assert.deepEqual(await from({ replay: 2 }, 2), ['8', '9']);
  assert.deepEqual((await from({ replay: 'all' }, 10)).length, 10);
  const live = hub.subscribe('t', { replay: 'none' });
  hub.publish('t', 'new');
  assert.equal((await take(live, 1))[0].data, 'new');
});

test('what is missing is told, to the reader and to the hub', async (t) => {
  const hub = await hubFor(t, { 'history.events': 5 });
  const ids = Array.from({ length: 20 }, (_, n) => hub.publish('t', String(n)));
  const told = once(hub, 'gap');
  const [gap, ...events] = await take(hub.subscribe('t', { since: ids[2] }), 6);
  assert.equal(gap.event, 'fanfare.gap');
  assert.equal(gap.gap.requested, ids[2]);
  assert.deepEqual(gap.json(), gap.gap);
  assert.deepEqual(events.map(({ data }) => data), ['15', '16', '17', '18', '19']);
  assert.equal((await told)[0], gap);
});

test('a slow reader falls behind in history, not in memory', async (t) => {
  const hub = await hubFor(t, { 'history.events': 100 });
  const [ends, skips, keeps] = ['disconnect', 'skip', 'conflate'].map((lag) => hub.subscribe('t', { lag }));
  const payload = 'x'.repeat(1_000);
  for (let n = 0; n < 50_000; n += 1) hub.publish('t', `${n} ${payload}`, { key: `k${n % 3}` });
  assert.ok(hub.stats().historyEvents <= 100);
  const failure = await take(ends, 1).then(() => null, (error) => error);
  assert.ok(failure instanceof FanfareError);
  assert.equal(failure.code, 'lapped');
  assert.deepEqual(await ends.next(), { value: undefined, done: true });
  const [gap, next] = await take(skips, 2);
  assert.ok(gap.gap);
  assert.equal(next.data, `49900 ${payload}`);
  assert.ok((await take(keeps, 1)).length === 1);
});

test('a closed topic ends its readers, after everything', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe('t');
  hub.publish('t', '1');
  hub.publish('t', '2');
  hub.closeTopic('t');
  const got = [];
  for await (const { data } of reader) got.push(data);
  assert.deepEqual(got, ['1', '2']);
});

test('stopping ends readers that wait and readers that do not', async (t) => {
  const hub = await hubFor(t);
  const [waiting, idle] = [hub.subscribe('t'), hub.subscribe('t')];
  const next = waiting.next();
  await hub.stop({ timeout: 0 });
  assert.deepEqual(await next, { value: undefined, done: true });
  assert.deepEqual(await idle.next(), { value: undefined, done: true });
  for (const call of [() => hub.publish('t', 'x'), () => hub.subscribe('t'), () => hub.stats(), () => hub.closeTopic('t'),
    () => hub.publishBatch([])]) {
    assert.equal(thrown(call).code, 'stopping');
  }
  assert.match(hub.url, /^http:/);
  assert.deepEqual(await hub.stop(), await hub.stop());
  assert.equal(idle.ended, 'stopping');
  assert.equal(thrown(() => idle.add('x')).code, 'stale_handle');
});

test('calls of next that wait together are answered in order', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe('t');
  const calls = Array.from({ length: 10 }, () => reader.next());
  for (let n = 0; n < 9; n += 1) hub.publish('t', String(n));
  const got = (await Promise.all(calls.slice(0, 9))).map(({ value }) => value.data);
  assert.deepEqual(got, ['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  await reader.return();
  assert.deepEqual(await calls[9], { value: undefined, done: true });
  assert.deepEqual(await reader.next(), { value: undefined, done: true });
});

test('AbortSignal: before, while waiting, between events, and after the end', async (t) => {
  const hub = await hubFor(t);
  assert.throws(() => hub.subscribe('t', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(hub.stats().subscriptions, 0);

  const waiting = new AbortController();
  const next = hub.subscribe('t', { signal: waiting.signal }).next();
  waiting.abort();
  await assert.rejects(next, { name: 'AbortError' });

  const between = new AbortController();
  const reader = hub.subscribe('t', { signal: between.signal });
  for (let n = 0; n < 10; n += 1) hub.publish('t', String(n));
  const got = [];
  await assert.rejects(async () => {
    for await (const { data } of reader) {
      got.push(data);
      if (got.length === 3) between.abort(new Error('enough'));
    }
  }, /enough/);
  assert.equal(got.length, 3);

  const late = new AbortController();
  const ended = hub.subscribe('t', { signal: late.signal });
  await ended.return();
  late.abort('a reason that is no error');
  assert.deepEqual(await ended.next(), { value: undefined, done: true });
  const odd = new AbortController();
  const odder = hub.subscribe('t', { signal: odd.signal });
  odd.abort('a reason that is no error');
  await assert.rejects(odder.next(), { name: 'AbortError', cause: 'a reason that is no error' });
  assert.equal(hub.stats().subscriptions, 0);
});

test('an abort races with events and with the stop', async (t) => {
  const hub = await hubFor(t);
  for (let round = 0; round < 200; round += 1) {
    const controller = new AbortController();
    const reader = hub.subscribe('t', { signal: controller.signal });
    const next = reader.next().then(({ value, done }) => (done ? 'done' : value.data), (error) => error.name);
    const steps = [() => hub.publish('t', 'x'), () => controller.abort(), () => reader.return()];
    steps.push(...steps.splice(0, round % 3));
    if (round % 2) await new Promise(setImmediate);
    for (const step of steps) {
      step();
      if (round % 5 === 0) await new Promise(setImmediate);
    }
    assert.ok(['x', 'AbortError', 'done'].includes(await next));
  }
  assert.equal(hub.stats().subscriptions, 0);
});

test('readers that nobody holds are ended by the garbage collector', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const hub = await hubFor(t);
  const signal = new AbortController().signal;
  setMaxListeners(0, signal);
  (() => {
    for (let n = 0; n < 100; n += 1) hub.subscribe('t', { signal });
  })();
  // This one is waited for, though nothing names it.
  const got = hub.subscribe('t').next();
  assert.equal(hub.stats().subscriptions, 101);
  await until('garbage', () => {
    collect();
    return hub.stats().subscriptions === 1;
  });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  hub.publish('t', 'still there');
  assert.equal((await got).value.data, 'still there');
});

test('`await using` and Symbol.asyncDispose end what they hold', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe('t');
  await reader[Symbol.asyncDispose]();
  assert.equal(hub.stats().subscriptions, 0);
  await hub[Symbol.asyncDispose]();
  assert.equal(thrown(() => hub.stats()).code, 'stopping');
});

test('throwing out of a loop ends the subscription', async (t) => {
  const hub = await hubFor(t);
  hub.publish('t', 'x');
  await assert.rejects(async () => {
    for await (const event of hub.subscribe('t', { replay: 1 })) throw new Error(event.data);
  }, /^Error: x$/);
  assert.equal(hub.stats().subscriptions, 0);
});

test('what a listener throws is an uncaught exception of its own and stops nobody', async (t) => {
  const hub = await hubFor(t, { 'history.events': 2 });
  const ids = Array.from({ length: 9 }, (_, n) => hub.publish('t', String(n)));
  hub.on('gap', () => { throw new Error('of the listener'); });
  const uncaught = new Promise((resolve) => {
    process.setUncaughtExceptionCaptureCallback(resolve);
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  });
  const events = await take(hub.subscribe('t', { since: ids[0] }), 3);
  assert.match((await uncaught).message, /of the listener/);
  assert.equal(events.length, 3);
});
