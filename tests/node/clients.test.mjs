// Other people's clients from npm: 10,000 numbered events through twenty cuts and a restart of the hub.
// Nothing is lost, nothing comes twice, the order stands, and what the restart made unknowable is told.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { EventSource as UndiciEventSource } from 'undici';

import { BRISK, CuttingProxy, numbers, plainPort, publishNumbers, randomCuts, settings } from './cutting.mjs';
import { startHub, until } from './support.mjs';

const EVENTS = 10_000;
const HALF = EVENTS / 2;
const CUTS = 20;
const LIMIT = { timeout: 150_000 };

/** What a reader has got: every event as `{ id, type, data }`, in order. */
class Reading {
  events = [];

  take(id, type, data) {
    this.events.push({ id, type, data });
  }

  get lastId() {
    return this.events.at(-1)?.id;
  }

  get numbers() {
    return this.events.filter((event) => event.type !== 'fanfare.gap').map((event) => Number.parseInt(event.data, 10));
  }

  get notices() {
    return this.events.flatMap((event, place) => (event.type === 'fanfare.gap' ? [{ place, ...event }] : []));
  }
}

/** Each starts reading and returns what ends it. All resume by themselves but the last. */
const clients = {
  eventsource(url, reading) {
    return standard(new EventSource(url), reading);
  },

  'eventsource-client'(url, reading) {
    const source = createEventSource({
      url,
      onMessage: ({ id, event, data }) => reading.take(id, event ?? 'message', data),
    });
    return () => source.close();
  },

  'eventsource-parser'(url, reading) {
    const control = new AbortController();
    const read = async () => {
      while (!control.signal.aborted) {
        try {
          const headers = reading.lastId === undefined ? {} : { 'Last-Event-ID': reading.lastId };
          const response = await fetch(url, { headers, signal: control.signal });
          const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
          for await (const { id, event, data } of events) reading.take(id, event ?? 'message', data);
        } catch (error) {
          // A cut, which fetch reports as a TypeError; anything else is a fault of this test.
          if (!(error instanceof TypeError) && error.name !== 'AbortError') throw error;
        }
      }
    };
    read();
    return () => control.abort();
  },
};

/**
 * Two that lose events by themselves when a connection is cut, whatever the server: undici's EventSource does not come
 * back, fetch-event-source asks for what follows an id whose event it has not got. They are read through whole ends.
 */
const frail = {
  undici(url, reading) {
    return standard(new UndiciEventSource(url), reading);
  },

  'fetch-event-source'(url, reading) {
    const control = new AbortController();
    fetchEventSource(url, {
      fetch,
      openWhenHidden: true,
      signal: control.signal,
      onmessage: ({ id, event, data }) => reading.take(id, event || 'message', data),
      // It takes any end for the last one, unless told otherwise.
      onclose() {
        throw new Error('come back');
      },
      onerror() {},
    });
    return () => control.abort();
  },
};

/** Reads an object with the interface of a browser's EventSource. */
function standard(source, reading) {
  for (const type of ['message', 'fanfare.gap']) {
    source.addEventListener(type, (event) => reading.take(event.lastEventId, event.type, event.data));
  }
  return () => source.close();
}

// fetch-event-source is written for pages.
const page = { document: globalThis.document, window: globalThis.window };
before(() => {
  globalThis.window = globalThis;
  globalThis.document = { addEventListener() {}, removeEventListener() {}, hidden: false };
});
after(() => Object.assign(globalThis, page));

for (const [name, read] of Object.entries(clients)) {
  test(`${name}: numbers survive cuts and a restart`, LIMIT, async (t) => {
    let hub = await startHub({ args: BRISK });
    t.after(() => hub.stop('SIGKILL'));
    const proxy = await CuttingProxy.start(plainPort(hub));
    t.after(() => proxy.stop());
    proxy.plan(randomCuts(name.length, CUTS, 300, (EVENTS * 130) / CUTS));
    const reading = new Reading();
    t.after(read(`http://${proxy.address}/events/t?replay=all`, reading));

    await publishNumbers(hub, 't', 0, HALF);
    // Without a stored history only what was read before the end survives it.
    await until('the first half', () => reading.numbers.length >= HALF);
    proxy.upstream = null;
    assert.equal(await hub.stop(), 0);
    hub = await startHub({ args: BRISK });
    proxy.upstream = plainPort(hub);
    await publishNumbers(hub, 't', HALF, EVENTS);
    await until('all numbers', () => reading.numbers.length >= EVENTS);

    assert.deepEqual(reading.numbers, numbers(0, EVENTS));
    assert.equal(proxy.cuts, CUTS);
    assert.equal(reading.notices.length, 1);
    const [notice] = reading.notices;
    assert.equal(notice.place, HALF);
    assert.equal(JSON.parse(notice.data).requested, reading.events[HALF - 1].id);
  });
}

for (const [name, read] of Object.entries(frail)) {
  test(`${name}: numbers survive streams that end by age`, LIMIT, async (t) => {
    const hub = await startHub({ args: [...BRISK, ...settings({ 'stream.max_age': '50ms', 'stream.max_age_jitter': '0%' })] });
    t.after(() => hub.stop('SIGKILL'));
    const proxy = await CuttingProxy.start(plainPort(hub));
    t.after(() => proxy.stop());
    const reading = new Reading();
    t.after(read(`http://${proxy.address}/events/t?replay=all`, reading));
    for (let part = 0; part < CUTS; part += 1) {
      const before = proxy.connections;
      await publishNumbers(hub, 't', part * (EVENTS / CUTS), (part + 1) * (EVENTS / CUTS));
      await until('another connection', () => proxy.connections > before);
    }
    await until('all numbers', () => reading.numbers.length >= EVENTS);
    assert.deepEqual(reading.numbers, numbers(0, EVENTS));
    assert.deepEqual(reading.notices, []);
  });
}

test('text of every kind arrives as it was', LIMIT, async (t) => {
  const texts = [
    '', ' ', '  a  ', ':', 'a\nb', 'a\r\nb', 'a\rb', 'a\r\r\nb\n\rc\n\nd', 'a\n', '\n\r\n\r', 'a\0b', '\ufeffa', 'a\ufeffb',
    'a\u2028b\u2029c\u0085d\u000be\u000cf\u001cg', '\u{1f469}\u200d\u{1f680}', 'x\rid: forged\r\rdata: forged',
    'x'.repeat(1 << 20), Array.from({ length: 8192 }, () => 'y'.repeat(127)).join('\n'),
  ];
  const hub = await startHub({ args: BRISK });
  t.after(() => hub.stop('SIGKILL'));
  for (const text of texts) await hub.publish('t', text);
  for (const [name, read] of Object.entries({ ...clients, ...frail })) {
    await t.test(name, async () => {
      const reading = new Reading();
      const end = read(`${hub.url}/events/t?replay=all`, reading);
      try {
        await until(`all texts in ${name}`, () => reading.events.length >= texts.length);
      } finally {
        end();
      }
      for (const [place, text] of texts.entries()) {
        const wanted = text.replace(/\r\n?/g, '\n');
        const known = name === 'fetch-event-source' ? startsLost(wanted) : wanted;
        const { data } = reading.events[place];
        assert.ok(data === known, `${name}: text ${place} is ${JSON.stringify(data.slice(0, 80))}`);
      }
    });
  }
});

/** What fetch-event-source makes of a text: no empty lines at its start, no BOM at the start of a line. Its own fault. */
function startsLost(text) {
  return text.replace(/^\n+/, '').replace(/^\ufeff/gm, '');
}
