// The console on `/`, driven in a real browser against the real program.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';

import { openPage, startBrowser, startHub, until } from './support.mjs';

const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
  + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

let browser;
let hub;
let opened;

before(async () => {
  browser = await startBrowser();
});
after(() => browser?.close());
beforeEach(async () => {
  hub = await startHub();
});
afterEach(async () => {
  await opened?.context.close();
  opened = undefined;
  await hub?.stop('SIGKILL');
});

/** Opens the console and waits until it has its first answer from the hub. */
async function openConsole(options, hash = '') {
  opened = await openPage(browser, `${hub.url}/${hash}`, options);
  await says('#hub-state-text', 'Connected');
  return opened.page;
}

const text = (selector) => opened.page.locator(selector).textContent();
const says = (selector, wanted) => until(`${selector} to say ${wanted}`, async () => {
  const now = await text(selector);
  return wanted instanceof RegExp ? wanted.test(now) : now === wanted;
});

/** The rows of the live list, oldest first: kind, type, data and id of each. */
const rows = () => opened.page.locator('#events > li').evaluateAll((items) => items.map((item) => ({
  kind: item.className,
  type: item.querySelector('.type')?.textContent,
  data: item.querySelector('.data').textContent,
  id: item.querySelector('.id')?.textContent,
})));
const data = async () => (await rows()).filter((row) => row.kind === 'event').map((row) => row.data);
const arrived = (count) => until(`${count} events in the list`, async () => (await data()).length === count);

async function subscribe(topics, replay = 'none', count = '') {
  const { page } = opened;
  await page.fill('#sub-topics', topics);
  await page.selectOption('#sub-replay', replay);
  if (count !== '') await page.fill('#sub-count', count);
  await page.click('#subscribe [type=submit]');
  await says('#stream-state-text', /^Live: /);
}

/** The cells of a topic's row in the table, or undefined. */
const topicRow = (name) => opened.page.locator('#topics tbody tr').evaluateAll((items, wanted) => {
  const row = items.find((item) => item.dataset.topic === wanted);
  return row && { published: row.cells[3].textContent, held: row.cells[4].textContent, newest: row.cells[6].textContent };
}, name);

test('loads under its policy, from its own origin alone, without a complaint', async () => {
  const response = await fetch(`${hub.url}/`);
  assert.equal(response.headers.get('content-security-policy'), POLICY);
  assert.match(response.headers.get('content-type'), /^text\/html/);
  const page = await openConsole();
  await page.evaluate(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));
  });
  await hub.publish('chat', 'hello');
  await page.click('#theme-toggle');
  await subscribe('chat', 'all');
  await arrived(1);
  await until('a second poll', async () => /\d/.test(await text('#fig-published')));
  assert.equal(await text('#version'), (await hub.stats()).version);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(opened.complaints, []);
  assert.deepEqual(opened.requests.filter((url) => !url.startsWith(`${hub.url}/`)), []);
});

test('an empty hub teaches the first step, and the taught line works', async () => {
  await openConsole();
  await until('the hint', async () => (await text('#topics-empty')).includes('No topics yet'));
  const line = await text('#topics-empty code');
  await promisify(execFile)('sh', ['-c', line]);
  await until('the topic', () => topicRow('chat'));
});

test('publishes through the form; list, table and figures show it', async () => {
  const page = await openConsole();
  await subscribe('room/1');
  await page.fill('#pub-topic', 'room/1');
  await page.fill('#pub-event', 'greeting');
  await page.fill('#pub-data', 'hello');
  await page.click('#publish [type=submit]');
  await arrived(1);
  const [row] = await rows();
  assert.deepEqual(row, { kind: 'event', type: 'greeting', data: 'hello', id: row.id });
  await says('#pub-result', `Published as ${row.id}.`);
  const topic = await until('the table to show it', async () => {
    const now = await topicRow('room/1');
    return now?.published === '1' && now;
  });
  assert.deepEqual(topic, { published: '1', held: '1', newest: row.id });
  await says('#fig-published-total', '1 in all');
  await says('#fig-topics', '1');
});

test('shows handlers with their rates, times, answers and faults', async () => {
  await openConsole();
  await until('an answer', async () => /\d/.test(await text('#fig-published')));
  assert.equal(await opened.page.isVisible('#handlers-card'), false, 'a hub without handlers has no panel for them');
  await opened.context.close();
  await hub.stop('SIGKILL');

  const folder = await mkdtemp(join(tmpdir(), 'fanfare-console-'));
  try {
    const file = join(folder, 'judge.js');
    await writeFile(file, "export function transform({ data }) {\n  if (data === 'bad') null.x;\n  return data === 'no' ? null : `${data}!`;\n}\n");
    const second = join(folder, 'last.js');
    await writeFile(second, 'export const transform = () => {};\n');
    hub = await startHub({ args: ['--handler', `t=${file};event=vote;event=note`, '--handler', `*=${second}`] });
    await openConsole();
    const cells = (name) => opened.page.locator(`#handlers tr[data-handler="${name}"] > *`).allTextContents();
    await until('both handlers', async () => (await cells('last')).length === 8);
    assert.deepEqual(await opened.page.locator('#handlers tbody tr').evaluateAll((rows) => rows.map((row) => row.dataset.handler)), ['judge', 'last']);
    await says('#handlers-count', '2');
    assert.deepEqual((await cells('judge')).slice(0, 2), ['judge', 't (vote, note)']);
    const publish = (data, event) => fetch(`${hub.url}/events/t?event=${event}`, { method: 'POST', body: data });
    for (const [body, status] of [['yes', 200], ['no', 200], ['bad', 500], ['yes', 200]]) {
      assert.equal((await publish(body, 'vote')).status, status, body);
    }
    assert.equal((await publish('bad', 'other')).status, 200, 'of another type: not its business');
    const judge = await until('the counts', async () => {
      const now = await cells('judge');
      return now[4] === '4' && now;
    });
    assert.deepEqual([judge[1], judge[5], judge[6], judge[7]], ['t (vote, note)', 'drop 1, replace 2', '1: trap 1', '0 B']);
    assert.match(judge[3], /^[\d.]+ (µs|ms)$/);
    await until('a rate', async () => Number((await cells('judge'))[2]) > 0);
    assert.equal(await opened.page.locator('#handlers tr[data-handler="judge"] .faults.bad').count(), 1);
    const last = await cells('last');
    assert.deepEqual([last[1], last[4], last[5], last[6]], ['*', '3', 'pass 3', '0']);
    assert.deepEqual(opened.complaints, []);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('takes an id of the publisher, and says in a sentence why it refuses a bad one', async () => {
  const page = await openConsole();
  await page.fill('#pub-data', 'x');
  await page.fill('#pub-id', 'order-7');
  await page.click('#publish [type=submit]');
  await says('#pub-result', 'Published as order-7.');
  await page.fill('#pub-id', 'not an id!');
  await page.click('#publish [type=submit]');
  // Until then it says what became of the first one.
  await says('#pub-result', /^(?!Published)[A-Z].*\.$/);
  assert.doesNotMatch(await text('#pub-result'), /[{}]/);
  assert.equal(await page.getAttribute('#pub-id', 'aria-invalid'), 'true');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'pub-id');
  assert.equal((await hub.stats()).events.published, 1);
});

test('replays nothing, the last few, or everything', async () => {
  await hub.publishAll('log', ['a', 'b', 'c', 'd', 'e'].map((item) => ({ data: item })));
  await openConsole();
  await subscribe('log', 'all');
  await arrived(5);
  assert.deepEqual(await data(), ['a', 'b', 'c', 'd', 'e']);
  await subscribe('log', 'last', '2');
  await arrived(2);
  assert.deepEqual(await data(), ['d', 'e']);
  await subscribe('log', 'none');
  await hub.publish('log', 'f');
  await arrived(1);
  assert.deepEqual(await data(), ['f']);
});

test('shows every event type, several lines and markup as the text they are', async () => {
  const page = await openConsole();
  await subscribe('raw');
  const html = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>&amp;';
  await hub.publish('raw', html, { event: '<b>bold</b>' });
  await hub.publish('raw', 'one\n  two\n\nfour', { event: 'log' });
  await hub.publish('raw', 'plain');
  await arrived(3);
  const shown = await rows();
  assert.deepEqual(shown.map((row) => row.type), ['<b>bold</b>', 'log', 'message']);
  assert.deepEqual(shown.map((row) => row.data), [html, 'one\n  two\n\nfour', 'plain']);
  assert.equal(await page.locator('#events img, #events script, #events b').count(), 0);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  const heights = await page.locator('#events .data').evaluateAll((nodes) => nodes.map((node) => node.clientHeight));
  assert.ok(heights[1] > 3 * heights[2], `four lines take the height of four: ${heights}`);
});

test('follows several topics, also with commas and quotes in their names', async () => {
  const page = await openConsole();
  await subscribe('a, "b,""c""", d e');
  for (const topic of ['a', 'b,"c"', 'd e']) await hub.publish(topic, topic);
  await arrived(3);
  assert.deepEqual(await data(), ['a', 'b,"c"', 'd e']);
  await page.reload();
  await says('#stream-state-text', 'Live: 3 topics');
  assert.equal(await page.inputValue('#sub-topics'), 'a, "b,""c""", d e');
});

test('a row of the table subscribes, with Shift it adds', async () => {
  await hub.publish('one', '1');
  await hub.publish('two', '2');
  const page = await openConsole();
  await until('both topics', async () => (await topicRow('one')) && (await topicRow('two')));
  await page.click('#topics tbody tr[data-topic=one] button');
  await says('#stream-state-text', 'Live: one');
  await arrived(1);
  assert.equal(await page.inputValue('#pub-topic'), 'one');
  await page.click('#topics tbody tr[data-topic=two] button', { modifiers: ['Shift'] });
  await says('#stream-state-text', 'Live: one, two');
  await arrived(2);
  assert.equal(await page.locator('#topics tbody tr.followed').count(), 2);
  await page.click('#sub-stop');
  await says('#stream-state-text', 'Not subscribed');
  await until('the stream to close', async () => (await hub.stats()).streams.open === 0);
});

test('sorts and filters the table', async () => {
  await hub.publishAll('apple', [{ data: '1' }]);
  await hub.publishAll('pear', [{ data: '1' }, { data: '2' }, { data: '3' }]);
  await hub.publishAll('zebra', [{ data: '1' }, { data: '2' }]);
  const page = await openConsole();
  const names = () => page.locator('#topics tbody tr').evaluateAll((items) => items.map((item) => item.dataset.topic).join());
  await until('the topics by name', async () => (await names()) === 'apple,pear,zebra');
  await page.click('#topics thead [data-sort=published]');
  assert.equal(await names(), 'pear,zebra,apple');
  assert.equal(await page.locator('#topics th[aria-sort]').getAttribute('aria-sort'), 'descending');
  await page.click('#topics thead [data-sort=published]');
  assert.equal(await names(), 'apple,zebra,pear');
  await page.fill('#topics-filter', 'EA');
  assert.equal(await names(), 'pear');
  await page.fill('#topics-filter', 'nothing like it');
  await says('#topics-empty', 'No topic matches the filter.');
});

test('keeps the newest 500 rows, pauses and clears', async () => {
  const page = await openConsole();
  await subscribe('many');
  await hub.publishAll('many', Array.from({ length: 700 }, (_, index) => ({ data: `n${index}` })));
  await says('#events-count', '700');
  await arrived(500);
  const shown = await data();
  assert.deepEqual([shown[0], shown.at(-1)], ['n200', 'n699']);
  await page.click('#events-pause');
  await hub.publish('many', 'while paused');
  await says('#events-note', 'Paused, 1 event waiting.');
  assert.equal((await data()).at(-1), 'n699');
  await page.click('#events-pause');
  await until('the waiting event', async () => (await data()).at(-1) === 'while paused');
  await page.click('#events-clear');
  assert.deepEqual(await rows(), []);
});

test('says Reconnecting, Disconnected and Connected when it is so, and shows what was missed', async () => {
  const page = await openConsole();
  await subscribe('chat', 'all');
  await hub.publish('chat', 'before');
  await arrived(1);
  const address = hub.address;
  await hub.stop('SIGKILL');
  await says('#hub-state-text', 'Reconnecting…');
  await says('#stream-state-text', 'Reconnecting…');
  await says('#hub-state-text', 'Disconnected');
  assert.match(await text('#away-text'), /^The hub does not answer\. Away for \d+ s\./);
  hub = await startHub({ listen: address });
  await page.click('#away-retry');
  await says('#hub-state-text', 'Connected');
  await says('#stream-state-text', 'Live: chat');
  assert.equal(await page.isVisible('#away'), false);
  await hub.publish('chat', 'after');
  await until('the event after the restart', async () => (await data()).at(-1) === 'after');
  const shown = await rows();
  assert.deepEqual(shown.filter((row) => row.kind !== 'note').map((row) => row.kind), ['event', 'gap', 'event']);
  assert.match(shown.find((row) => row.kind === 'gap').data, /^Events after \S+ may be missing here/);
});

test('a hub that is paused counts as away, and nothing is lost or twice when it goes on', async () => {
  await openConsole();
  await subscribe('chat', 'all');
  await hub.publish('chat', 'one');
  await arrived(1);
  hub.signal('SIGSTOP');
  await says('#hub-state-text', 'Disconnected');
  await says('#stream-state-text', 'Reconnecting…');
  hub.signal('SIGCONT');
  await says('#hub-state-text', 'Connected');
  await says('#stream-state-text', 'Live: chat');
  await hub.publish('chat', 'two');
  await until('the second event', async () => (await data()).includes('two'));
  assert.deepEqual(await data(), ['one', 'two']);
});

test('passes the chosen lag policy on', async () => {
  const page = await openConsole();
  await page.selectOption('#sub-lag', 'skip');
  await subscribe('slow', 'all');
  const asked = opened.requests.filter((url) => url.includes('/events?')).map((url) => new URL(url).searchParams);
  assert.deepEqual(asked.map((parameters) => [...parameters]), [[['topic', 'slow'], ['replay', 'all'], ['lag', 'skip']]]);
});

test('refuses an empty topic list and a replay that is no number, and says why', async () => {
  const page = await openConsole();
  await page.fill('#sub-topics', ' , ');
  await page.click('#subscribe [type=submit]');
  assert.equal(await text('#sub-error'), 'Name at least one topic.');
  await page.fill('#sub-topics', 'chat');
  await page.selectOption('#sub-replay', 'last');
  await page.fill('#sub-count', 'many');
  await page.click('#subscribe [type=submit]');
  assert.equal(await text('#sub-error'), 'Replay the last how many events? Write a number.');
  await subscribe('chat', 'last', '3');
  assert.equal(await text('#sub-error'), '');
});

test('asks nothing while hidden and goes on when shown', async () => {
  const page = await openConsole();
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  const polls = () => opened.requests.filter((url) => url.endsWith('/stats')).length;
  await hide(true);
  // One request may be under way; the page's own timers then show that no other follows.
  await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 1500); }));
  const before = polls();
  await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 2500); }));
  assert.equal(polls(), before);
  await hide(false);
  await until('the polls to go on', () => polls() > before + 1);
  await says('#hub-state-text', 'Connected');
});

test('a closed topic ends the stream, a topic name that cannot be is refused in words', async () => {
  const page = await openConsole();
  await subscribe('t'.repeat(255));
  await page.fill('#sub-topics', 't'.repeat(256));
  await page.click('#subscribe [type=submit]');
  await says('#stream-state-text', 'Refused');
  assert.match(await text('#sub-error'), /^[A-Z].*\.$/);
  await subscribe('brief', 'all');
  await hub.publish('brief', 'last words');
  await arrived(1);
  const response = await fetch(`${hub.url}/events/brief`, { method: 'DELETE' });
  assert.deepEqual(await response.json(), { closed: true });
  await says('#stream-state-text', 'Ended: the topic is closed');
  assert.deepEqual(await data(), ['last words']);
});

test('works by keyboard alone, with the focus in sight', async () => {
  await hub.publish('keys', 'earlier');
  const page = await openConsole();
  await until('the topic', () => topicRow('keys'));
  const focus = () => page.evaluate(() => {
    const node = document.activeElement;
    const style = getComputedStyle(node);
    return { id: node.id, name: node.textContent, row: Boolean(node.closest('tbody')), seen: style.outlineStyle !== 'none' && style.outlineWidth !== '0px' };
  });
  const tabTo = async (what, found) => {
    for (let presses = 0; presses < 80; presses += 1) {
      await page.keyboard.press('Tab');
      const now = await focus();
      assert.ok(now.seen, `focus is not visible on ${now.id || now.name}`);
      if (found(now)) return;
    }
    assert.fail(`80 times Tab did not reach ${what}`);
  };
  await tabTo('the theme toggle', (now) => now.id === 'theme-toggle');
  await tabTo('the topic row', (now) => now.row && now.name === 'keys');
  await page.keyboard.press('Enter');
  await arrived(1);
  await tabTo('the data field', (now) => now.id === 'pub-data');
  await page.keyboard.type('typed');
  await page.keyboard.press('Control+Enter');
  await arrived(2);
  assert.deepEqual(await data(), ['earlier', 'typed']);
  await tabTo('the topics field', (now) => now.id === 'sub-topics');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('other');
  await page.keyboard.press('Enter');
  await says('#stream-state-text', 'Live: other');
});

test('the lines to copy are quoted for the shell and do what they say', async () => {
  const page = await openConsole();
  await opened.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: hub.url });
  const topic = "it's a/topic & $HOME";
  const body = "@it's \"quoted\" `echo no` $PATH \\ !\nsecond line";
  await page.fill('#pub-topic', topic);
  await page.fill('#pub-event', 'a b');
  await page.fill('#pub-data', body);
  await subscribe(topic);
  const copy = async (label) => {
    const button = page.getByRole('button', { name: `Copy the ${label} line`, exact: true }).last();
    await button.click();
    await until('the button to say so', async () => (await button.textContent()) === 'Copied');
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.equal(await copy('follow'), `curl -N '${hub.url}/events/it'\\''s%20a/topic%20%26%20%24HOME'`);
  await promisify(execFile)('sh', ['-c', await page.locator('#snippets li', { hasText: 'curl --data-raw' }).locator('code').textContent()]);
  await arrived(1);
  const [row] = await rows();
  assert.deepEqual([row.type, row.data], ['a b', body]);
  await page.fill('#pub-topic', 'plain');
  await page.fill('#pub-event', '');
  await page.fill('#pub-data', '');
  assert.equal(await copy('publish'), `curl -d hello ${hub.url}/events/plain`);
});

test('follows the system theme, and remembers the other one once chosen', async () => {
  const page = await openConsole({ colorScheme: 'dark' });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await background();
  await page.click('#theme-toggle');
  const light = await background();
  assert.notEqual(light, dark);
  await page.reload();
  await says('#hub-state-text', 'Connected');
  assert.equal(await background(), light);
  assert.equal(await page.getAttribute('#theme-toggle', 'aria-label'), 'Switch to the dark theme');
});

test('fits 360 pixels, and no control is without a name', async () => {
  await hub.publish('a-rather-long-topic-name/with/segments', 'x'.repeat(500));
  const page = await openConsole({ viewport: { width: 360, height: 740 } });
  await subscribe('a-rather-long-topic-name/with/segments', 'all');
  await arrived(1);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${overflow} pixels too wide`);
  const nameless = await page.locator('button, input, select, textarea').evaluateAll((nodes) => nodes
    .filter((node) => !(node.labels?.length || node.getAttribute('aria-label') || node.textContent.trim()))
    .map((node) => node.outerHTML));
  assert.deepEqual(nameless, []);
});
