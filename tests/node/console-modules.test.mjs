// The console's modules that have rules of their own, run in the browser that will run them: the
// stream parser against the shared vectors, topic names to and from text.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { openPage, startBrowser, startHub } from './support.mjs';

const VECTORS = new URL('../../engine/tests/vectors/wire/', import.meta.url);

let browser;
let hub;
let page;

before(async () => {
  hub = await startHub();
  browser = await startBrowser();
  ({ page } = await openPage(browser, `${hub.url}/`));
});
after(async () => {
  await browser?.close();
  await hub?.stop('SIGKILL');
});

const vectors = async (name) => JSON.parse(await readFile(new URL(name, VECTORS), 'utf8')).cases;

/** The bytes of a text value of the vectors (see the README beside them). */
function bytes(value) {
  if (typeof value === 'string') return Buffer.from(value);
  if (Array.isArray(value)) return Buffer.concat(value.map(bytes));
  if ('hex' in value) return Buffer.from(value.hex, 'hex');
  if ('repeat' in value) return Buffer.from(value.repeat.repeat(value.times));
  throw new Error(`unknown text value ${JSON.stringify(value)}`);
}
const plain = (value) => (value === null ? null : bytes(value).toString());

test('the parser reads every shared vector, whole, byte by byte and in every two parts', async () => {
  // The size limit is an option of other parsers; the console reads what the hub's own limit lets through.
  const cases = (await vectors('parse.json')).filter((item) => item.limit === undefined);
  assert.ok(cases.length > 50);
  for (const item of cases) {
    const expected = {
      events: item.events.map(({ event, data, id }) => ({ type: plain(event), data: plain(data), id: plain(id) })),
      lastEventId: plain(item.last_event_id),
      retry: item.retry,
    };
    const responses = item.responses.map((response) => [...bytes(response)]);
    const results = await page.evaluate(async (bodies) => {
      const { Parser } = await import('/console/sse.js');
      const read = (cuts) => {
        const events = [];
        let lastEventId = '';
        let retry = null;
        bodies.forEach((body, index) => {
          const parser = new Parser(lastEventId);
          const decoder = new TextDecoder();
          const all = new Uint8Array(body);
          const ends = [...cuts(all.length, index), all.length];
          let from = 0;
          for (const end of ends) {
            parser.feed(decoder.decode(all.subarray(from, end), { stream: true }), (event) => events.push(event));
            from = end;
          }
          lastEventId = parser.lastEventId;
          retry = parser.retry ?? retry;
        });
        return { events, lastEventId, retry };
      };
      const whole = read(() => []);
      const different = [];
      const check = (how, cuts) => {
        const now = read(cuts);
        if (JSON.stringify(now) !== JSON.stringify(whole)) different.push({ how, now });
      };
      check('byte by byte', (length) => Array.from({ length: Math.max(0, length - 1) }, (_, at) => at + 1));
      const longest = Math.max(...bodies.map((body) => body.length));
      const step = longest > 4096 ? 61 : 1;
      for (let at = 1; at < longest; at += step) check(`cut at ${at}`, (length) => (at < length ? [at] : []));
      return { whole, different };
    }, responses);
    assert.deepEqual(results.whole, expected, item.name);
    assert.deepEqual(results.different, [], item.name);
  }
});

test('only the content types that are event streams are read as such', async () => {
  for (const item of await vectors('content_type.json')) {
    const opens = await page.evaluate(async (type) => (await import('/console/sse.js')).isStream(type), item.content_type);
    assert.equal(opens, item.opens, item.name);
  }
});

test('topic names survive the text field and the address', async () => {
  const names = ['chat', 'a,b', '"', '""', 'say "hi", twice', ' padded ', 'ünï/çødé', '日本', '100%', "it's", 'a+b', '?#&='];
  const results = await page.evaluate(async (wanted) => {
    const { parseTopics, printTopics, topicPath } = await import('/console/address.js');
    return {
      field: parseTopics(printTopics(wanted)),
      paths: wanted.map((name) => decodeURIComponent(new URL(topicPath(name), location.origin).pathname.slice('/events/'.length))),
    };
  }, names);
  assert.deepEqual(results.field, names);
  assert.deepEqual(results.paths, names);
});

test('dot segments are escaped where that helps and refused where nothing does', async () => {
  const results = await page.evaluate(async () => {
    const { topicPath } = await import('/console/address.js');
    const refused = (name) => {
      try {
        topicPath(name);
        return '';
      } catch (error) {
        return error.message;
      }
    };
    return { joined: new URL(topicPath('a/../b'), location.origin).pathname, dots: refused('..'), none: refused('') };
  });
  assert.deepEqual(results, { joined: '/events/a%2F..%2Fb', dots: 'No URL can carry the topic name “..”.', none: 'Name a topic.' });
});
