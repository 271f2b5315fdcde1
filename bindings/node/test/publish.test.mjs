// Publishing: every form of data, every field, and what is refused.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import fanfare, { Fanfare, FanfareError } from 'fanfare';

import { folderFor, hubFor, take, thrown } from './support.mjs';

test('ESM and CommonJS are the same module', () => {
  const required = createRequire(import.meta.url)('fanfare');
  assert.equal(required.Fanfare, Fanfare);
  assert.equal(fanfare.Fanfare, Fanfare);
  assert.match(Fanfare.version, /^\d+\.\d+\.\d+/);
});

test('data arrives as it was given', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe('data');
  const long = 'ä€😀'.repeat(20_000);
  const cases = [
    ['text', 'text'],
    ['', ''],
    [undefined, ''],
    [null, 'null'],
    [7, '7'],
    [false, 'false'],
    [{ text: 'hi', list: [1, 2] }, '{"text":"hi","list":[1,2]}'],
    [[], '[]'],
    [Buffer.from('bytes ä'), 'bytes ä'],
    [new Uint8Array([104, 105]), 'hi'],
    [new Uint8Array(0), ''],
    [new Uint8Array(Buffer.from('--in the middle--').buffer, 0, 0), ''],
    [new Uint8Array(new SharedArrayBuffer(3)).fill(97), 'aaa'],
    [long, long],
    [Buffer.from(long), long],
    ['\u0000 \u2028 \ufeff', '\u0000 \u2028 \ufeff'],
    ['\ufefffirst', '\ufefffirst'],
    ['a\r\nb\rc\nd', 'a\nb\nc\nd'],
    ['x'.repeat(1_000_000), 'x'.repeat(1_000_000)],
    ['a replacement: \ufffd', 'a replacement: \ufffd'],
    ['\uffef\ufffd', '\uffef\ufffd'],
    [{ half: '\ud800' }, '{"half":"\\ud800"}'],
  ];
  // Lengths around the addon's own buffer, with characters of every width at its edge.
  for (let length = 6_120; length < 6_150; length += 1) {
    for (const character of ['x', 'ä', '€', '😀']) {
      const text = 'x'.repeat(length) + character;
      cases.push([text, text]);
    }
  }
  for (const [data, expected] of cases) {
    const id = hub.publish('data', data);
    const [event] = await take(reader, 1);
    assert.equal(event.data, expected);
    assert.equal(event.id, id);
    assert.deepEqual([event.topic, event.event, event.gap], ['data', 'message', null]);
  }
  const positions = [hub.publish('data', { n: 1 }), hub.publish('data', { n: 2 })];
  const events = await take(reader, 2);
  assert.deepEqual(events.map((event) => event.id), positions);
  assert.deepEqual(events.map((event) => event.json()), [{ n: 1 }, { n: 2 }]);
  assert.equal(events[1].position, events[0].position + 1);
});

test('event, id, key, retry and except', async (t) => {
  const hub = await hubFor(t);
  const [ann, bob] = [hub.subscribe('chat', { client: 'ann' }), hub.subscribe('chat', { client: 'bob' })];
  assert.equal(hub.publish('chat', 'hi', { event: 'greeting', id: 'my.id-1~', key: 'k', retry: 1500 }), 'my.id-1~');
  hub.publish('chat', 'not for ann', { except: 'ann' });
  hub.publish('chat', 'end');
  assert.deepEqual((await take(bob, 3)).map(({ event, id, data }) => [event, id === 'my.id-1~', data]), [
    ['greeting', true, 'hi'],
    ['message', false, 'not for ann'],
    ['message', false, 'end'],
  ]);
  assert.deepEqual((await take(ann, 2)).map(({ data }) => data), ['hi', 'end']);
});

test('a batch is published whole or not at all', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe(['a', 'b']);
  const ids = hub.publishBatch([{ topic: 'a', data: '1' }, { topic: 'b', data: { n: 2 }, event: 'e', id: 'own' }]);
  assert.equal(ids.length, 2);
  assert.equal(ids[1], 'own');
  assert.deepEqual((await take(reader, 2)).map(({ topic, data }) => [topic, data]), [['a', '1'], ['b', '{"n":2}']]);
  const before = hub.stats().published;
  const error = thrown(() => hub.publishBatch([{ topic: 'a', data: 'x' }, { topic: 'a', data: 'y', event: 'a\nb' }]));
  assert.ok(error instanceof FanfareError);
  assert.deepEqual([error.code, error.index], ['invalid_event', 1]);
  assert.equal(hub.stats().published, before);
  assert.deepEqual(hub.publishBatch([]), []);
  assert.throws(() => hub.publishBatch([{ topic: 'a', dta: 'x' }]), /no option "dta"/);
});

test('a batch takes what single events take', async (t) => {
  const hub = await hubFor(t);
  const [reader, ann] = [{}, { client: 'ann' }].map((options) => hub.subscribe(['a', 'b'], options));
  const batch = [];
  // Texts on the stack, in blocks, and in memory of their own; topics and types as before, other, and none.
  for (const length of [0, 1, 3_000, 6_100, 15_000, 16_383, 16_384, 70_000]) {
    for (const letter of ['x', 'ü', '€', '😀']) {
      const data = letter.repeat(length / letter.length);
      const n = batch.length;
      batch.push({ topic: n % 3 ? 'a' : 'b', data: n % 5 ? data : Buffer.from(data), ...(n % 4 ? { event: n % 7 ? 'e' : 'f' } : {}) });
    }
  }
  batch.push({ topic: 'a', data: [1], event: undefined, id: 'own', except: 'ann', key: 'k', retry: 5 });
  batch.push({ topic: 'a' }, { topic: 'a', event: null, data: '\uFFFD' });
  const ids = hub.publishBatch(new Set(batch));
  const wanted = batch.map(({ topic, data, event }) => [topic, typeof data === 'object' && !Buffer.isBuffer(data) ? '[1]' : String(data ?? ''), event ?? 'message']);
  const events = await take(reader, batch.length);
  assert.deepEqual(events.map(({ topic, data, event }) => [topic, data, event]), wanted);
  assert.deepEqual(events.map(({ id }) => id), ids);
  assert.equal(ids.at(-3), 'own');
  assert.deepEqual((await take(ann, batch.length - 1)).map(({ id }) => id), ids.filter((id) => id !== 'own'));
  const before = hub.stats().published;
  for (const topic of [undefined, null, 5, Symbol('a'), {}]) {
    for (const batch of [[{ topic }], [{ topic: 'a' }, { topic }], [{ topic }, { topic }]]) {
      assert.throws(() => hub.publishBatch(batch), TypeError);
    }
  }
  for (const wrong of [null, undefined, 5, 'ab', { topic: 'a', event: 5 }, { topic: 'a', retry: -1 }, { topic: 'a', data: 'a\uD800' }]) {
    assert.throws(() => hub.publishBatch([{ topic: 'a', event: 'e' }, wrong]));
  }
  assert.equal(hub.stats().published, before);
});

// D9: hostile fields are refused by name, nothing is published, and a reader beside sees nothing.
test('hostile fields', async (t) => {
  const hub = await hubFor(t);
  const reader = hub.subscribe('safe');
  const hostile = ['a\ud800b', '\udc00', '\ufffd\ud83d', 'a\nb', 'a\rb', 'a\u0000b', 'a\u0007b', 'x'.repeat(1 << 20), ''];
  const fields = [
    ['invalid_topic', (text) => hub.publish(text, 'd')],
    ['invalid_event', (text) => hub.publish('safe', 'd', { event: text })],
    ['invalid_id', (text) => hub.publish('safe', 'd', { id: text })],
    ['invalid_client', (text) => hub.publish('safe', 'd', { except: text })],
    ['invalid_key', (text) => hub.publish('safe', 'd', { key: text })],
    ['invalid_topic', (text) => hub.subscribe(text)],
    ['invalid_event', (text) => hub.subscribe('safe', { events: [text] })],
    ['invalid_client', (text) => hub.subscribe('safe', { client: text })],
    ['invalid_topic', (text) => hub.closeTopic(text)],
    ['invalid_topic', (text) => hub.deleteHistory(text)],
    ['invalid_topic', (text) => reader.add(text)],
  ];
  for (const [code, call] of fields) {
    for (const text of hostile) {
      const error = thrown(() => call(text));
      assert.equal(error.code, code, JSON.stringify(text.slice(0, 10)));
      assert.ok(error instanceof FanfareError && error.status < 0 && error.message.length > 0);
    }
  }
  for (const text of ['a\nb', 'a b', 'ä', 'x'.repeat(129)]) {
    assert.equal(thrown(() => hub.publish('safe', 'd', { id: text })).code, 'invalid_id');
  }
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xc0, 0xaf]]) {
    assert.equal(thrown(() => hub.publish('safe', Uint8Array.from(bytes))).code, 'invalid_data');
  }
  for (const text of ['\ud800', 'x\udc00x', '\ufffd \ud83d', 'x'.repeat(10_000) + '\ud800']) {
    assert.equal(thrown(() => hub.publish('safe', text)).code, 'invalid_data');
  }
  for (const retry of [-1, 1.5, NaN, Infinity, '5', 2 ** 60, 86_400_001, {}]) {
    assert.equal(thrown(() => hub.publish('safe', 'd', { retry })).code, 'invalid_retry', String(retry));
  }
  assert.equal(thrown(() => hub.publish('safe', 'x'.repeat((1 << 20) + 1))).code, 'too_large');
  assert.equal(thrown(() => hub.publish('safe', 'd', { event: 'fanfare.gap' })).code, 'invalid_event');
  assert.equal(hub.stats().published, 0);
  hub.publish('safe', 'only this');
  assert.equal((await take(reader, 1))[0].data, 'only this');
});

test('arguments of the wrong kind are type errors', async (t) => {
  const hub = await hubFor(t);
  const wrong = [
    () => hub.publish(5, 'x'),
    () => hub.publish({}, 'x'),
    () => hub.publish(undefined, 'x'),
    () => hub.closeTopic(null),
    () => hub.deleteHistory(null),
    () => hub.publish('t', 'x', { event: 5 }),
    () => hub.publish('t', 'x', { id: Symbol('id') }),
    () => hub.publish('t', 'x', { evnt: 'misspelt' }),
    () => hub.publish('t', () => 'x'),
    () => hub.publish('t', Symbol('x')),
    () => hub.publish('t', new Float64Array(1)),
    () => hub.publish('t', new ArrayBuffer(1)),
    () => hub.subscribe(5),
    () => hub.subscribe(['a', 5]),
    () => hub.subscribe(['a', undefined]),
    () => hub.subscribe('a', { sinse: 'x' }),
    () => hub.subscribe('a', { since: 5 }),
    () => hub.stop({ timout: 1 }),
    () => new Fanfare(),
  ];
  for (const call of wrong) {
    const error = thrown(call);
    assert.ok(error instanceof TypeError, `${call}: ${error}`);
    assert.equal(error.code, 'ERR_INVALID_ARG_TYPE');
  }
  assert.throws(() => hub.publish('t', 10n), TypeError);
  for (const call of [() => hub.subscribe('a', { lag: 'slow' }), () => hub.subscribe('a', { lag: 'toString' }),
    () => hub.subscribe('a', { replay: -1 })]) {
    assert.equal(thrown(call).code, 'invalid_parameter');
  }
  assert.equal(thrown(() => hub.subscribe([])).code, 'invalid_topic');
  assert.equal(hub.stats().published, 0);
});

test('options are the library\'s, and so are its complaints', async (t) => {
  const hub = await hubFor(t, { history: { events: 3 }, limits: { event_bytes: '1KiB' }, 'cors.origins': ['https://a.example'] });
  for (let n = 0; n < 10; n += 1) hub.publish('t', n);
  assert.equal(hub.stats().historyEvents, 3);
  assert.equal(thrown(() => hub.publish('t', 'x'.repeat(2_000))).code, 'too_large');
  const refused = async (options) => {
    const error = await Fanfare.start({ listen: '127.0.0.1:0', ...options }).then(() => null, (reason) => reason);
    assert.ok(error, Object.keys(options).join());
    return error;
  };
  const misspelt = await refused({ history: { evnts: 3 } });
  assert.equal(misspelt.code, 'invalid_config');
  assert.match(misspelt.message, /history\.evnts.*history\.events/s);
  assert.match((await refused({ 'history.events': 'many' })).message, /history\.events/);
  assert.equal((await refused({ 'history.events': '3\u00005' })).code, 'invalid_config');
  assert.equal((await refused({ 'history\u0000events': '3' })).code, 'invalid_config');
  assert.equal((await refused({ 'cors.origins': ['a,b'] })).code, 'ERR_INVALID_ARG_TYPE');
  assert.equal((await refused({ heartbeat: () => 5 })).code, 'ERR_INVALID_ARG_TYPE');
  const loop = {};
  loop.loop = loop;
  assert.match((await refused({ loop })).message, /nested too deeply/);
  assert.match((await refused({ config: { toml: '[history]\nevnts = 1' } })).message, /config\.toml:2/);
  assert.match((await refused({ config: '/no/such/file.toml' })).message, /no\/such\/file\.toml/);
  const taken = await refused({ listen: hub.url.slice('http://'.length) });
  assert.equal(taken.code, 'start_failed');
  // What is given by name wins over the text.
  const other = await hubFor(t, { config: { toml: '[history]\nevents = 5' }, 'history.bytes': '1MiB' });
  for (let n = 0; n < 10; n += 1) other.publish('t', n);
  assert.equal(other.stats().historyEvents, 5);
});

test('the table of options is the library\'s', () => {
  const table = Fanfare.options();
  const events = table.find(({ name }) => name === 'history.events');
  assert.equal(events.default, '1024');
  assert.ok(events.expects && events.doc && events.part === 'engine');
  assert.equal(new Set(table.map(({ name }) => name)).size, table.length);
});

test('a closed topic takes nothing more', async (t) => {
  const hub = await hubFor(t);
  hub.publish('t', 'last');
  assert.equal(hub.closeTopic('t'), true);
  assert.equal(hub.closeTopic('t'), false);
  assert.equal(thrown(() => hub.publish('t', 'late')).code, 'topic_closed');
});

test('deleting history outlives a restart', async (t) => {
  const data = folderFor(t);
  const first = await hubFor(t, { data });
  const id = first.publish('t', 'had');
  first.publish('t', 'missed');
  first.publish('other', 'kept');
  first.publish('closed', '1');
  first.deleteHistory('t');
  assert.equal(first.closeTopic('closed'), true);
  first.deleteHistory('closed');
  await first.stop();
  const second = await hubFor(t, { data });
  assert.equal(second.closeTopic('closed'), false);
  second.publish('t', '2');
  const all = second.subscribe(['t', 'other'], { replay: 'all' });
  assert.deepEqual((await take(all, 2)).map((event) => event.data), ['kept', '2']);
  const back = second.subscribe('t', { since: id });
  const [told, next] = await take(back, 2);
  assert.equal(told.gap?.requested, id);
  assert.equal(next.data, '2');
});
