// Live voting: the tally at once, the truth about the connection, and votes that survive a kill.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import { LIMIT, Server, file, folder, openPage, screenshot, setting, shows, startBrowser, state, texts, until } from '../test/support.mjs';

function start(t, name) {
  const made = folder(t);
  return Server.start(t, ['node', file(name)], { env: { DATA: join(made, 'data'), VOTES: join(made, 'votes.json') } });
}
const servers = { Fanfare: 'voting/server.mjs', 'by hand': 'by-hand/voting.mjs' };
const vote = async (server, choice) => (await server.post('/vote', { choice })).status;
const last = (reader) => JSON.parse(reader.data('tally').at(-1) ?? 'null');

for (const [name, path] of Object.entries(servers)) {
  test(`${name}: the tally at once, then every vote; votes survive a kill`, LIMIT, async (t) => {
    const server = await start(t, path);
    const first = await server.read(t, '/results');
    assert.deepEqual(JSON.parse((await first.has('tally', 1))[0]), { Tea: 0, Coffee: 0, Water: 0 });
    for (const choice of ['Tea', 'Coffee', 'Tea']) assert.equal(await vote(server, choice), 200);
    for (const body of [{ choice: 'Beer' }, { choice: 'toString' }, {}, [], { choice: ['Tea', 'Tea'] }]) {
      const answer = await server.post('/vote', body);
      assert.equal(answer.status, 400);
      assert.match(answer.json.error, /Tea, Coffee, Water/);
    }
    await first.has('tally', 4);
    const late = await server.read(t, '/results');
    assert.deepEqual(JSON.parse((await late.has('tally', 1))[0]), { Tea: 2, Coffee: 1, Water: 0 });

    const voters = Array.from({ length: 50 }, () => vote(server, 'Water').catch(() => 0));
    await until('some of them', () => last(late).Water > 5);
    await server.kill();
    const counted = (await Promise.all(voters)).filter((status) => status === 200).length;
    await server.again();
    const again = await server.read(t, '/results', { lastEventId: late.lastId });
    const { Water } = await until('the tally', () => last(again));
    // Every vote that was confirmed; one that was not may have been counted before the answer was lost.
    assert.ok(Water >= counted && Water <= 50, `${counted} confirmed, ${Water} counted`);
    assert.ok(Water >= last(late).Water, 'no vote that was shown is lost');
  });
}

test('in a browser: votes, results, and the state of the connection', LIMIT, async (t) => {
  const server = await start(t, servers.Fanfare);
  const context = await (await startBrowser(t)).newContext();
  const [voter, result] = [await openPage(context, server.url), await openPage(context, `${server.url}/result.html`)];
  const results = (...wanted) => shows(result, '#results span', wanted);
  const click = async (choice, said = `You voted for ${choice}.`) => {
    await voter.$eval('#said', (element) => { element.textContent = ''; });
    await voter.click(`text=${choice}`);
    await shows(voter, '#said', [said]);
  };
  await state(result, 'Connected');
  await results('Tea: 0', 'Coffee: 0', 'Water: 0');
  for (const choice of ['Tea', 'Coffee', 'Tea', 'Water', 'Tea']) await click(choice);
  await results('Tea: 3', 'Coffee: 1', 'Water: 1');
  await screenshot(result, 'voting', { width: 760, height: 300 });

  // It remembers every state that it has shown.
  await result.evaluate(() => {
    const { state } = window;
    window.seen = [];
    new MutationObserver(() => {
      if (window.seen.at(-1) !== state.textContent) window.seen.push(state.textContent);
    }).observe(state, { childList: true });
  });
  await server.kill();
  await state(result, 'Disconnected');
  await click('Tea', 'Your vote was not counted: try again.');
  await results('Tea: 3', 'Coffee: 1', 'Water: 1');
  await server.again();
  await state(result, 'Connected');
  assert.deepEqual(await result.evaluate(() => window.seen), ['Connecting...', 'Disconnected', 'Connected']);
  await results('Tea: 3', 'Coffee: 1', 'Water: 1');
  await click('Tea');
  await results('Tea: 4', 'Coffee: 1', 'Water: 1');
  // A server that hangs, with its connections open, is no connection either.
  server.signal('SIGSTOP');
  await state(result, 'Disconnected');
  server.signal('SIGCONT');
  await state(result, 'Connected');
  await click('Coffee');
  await results('Tea: 4', 'Coffee: 2', 'Water: 1');
  const late = await openPage(context, `${server.url}/result.html`);
  await until('the tally', async () => (await texts(late, '#results span')).join() === 'Tea: 4,Coffee: 2,Water: 1');
  assert.deepEqual([...voter.faults, ...result.faults], []);
});

for (const [language, handler] of [['JavaScript', file('voting/no-server/tally.js')], ['Rust', setting('FANFARE_VOTING')]]) {
  test(`with no server code: the program, a page and a handler in ${language}`, LIMIT, async (t) => {
    const site = await Server.start(t, [setting('FANFARE_PYTHON'), '-u', '-m', 'http.server', '{port}', '--bind', '127.0.0.1', '--directory', file('.')]);
    const hub = await Server.start(t, [
      setting('FANFARE_BIN'), 'serve', '--listen', '127.0.0.1:{port}', '--handler', `votes=${handler}`,
      '--data', join(folder(t), 'votes'), '--set', 'history.durability=always',
      '--cors-origin', site.url, '--set', 'retry=500ms', '--set', 'retry.jitter=200ms',
    ]);
    const post = (choice) => hub.ask('/events/votes', { method: 'POST', body: choice }).then(({ status }) => status, () => 0);
    const refused = await hub.ask('/events/votes', { method: 'POST', body: 'Beer' });
    assert.equal(refused.status, 422);
    assert.match(refused.json.error.message, /vote for one of Tea, Coffee, Water/);

    const context = await (await startBrowser(t)).newContext();
    const open = () => openPage(context, `${site.url}/voting/no-server/?votes=${hub.url}/events/votes`);
    const pages = [await open(), await open()];
    const both = async (wanted, among = pages) => {
      for (const page of among) await shows(page, '#results span', wanted);
    };
    for (const page of pages) await state(page, 'Connected');
    await both(['Tea: 0', 'Coffee: 0', 'Water: 0']);
    for (const choice of ['Tea', 'Coffee', 'Tea']) await pages[0].click(`text=${choice}`);
    await both(['Tea: 2', 'Coffee: 1', 'Water: 0']);
    const late = await open();
    await both(['Tea: 2', 'Coffee: 1', 'Water: 0'], [late]);

    const shown = async (page) => Number(/Water: (\d+)/.exec(await page.textContent('#results'))?.[1]);
    const voters = Array.from({ length: 50 }, () => post('Water'));
    await until('some of them', async () => await shown(pages[0]) > 5);
    await hub.kill();
    const counted = (await Promise.all(voters)).filter((status) => status === 200).length;
    const seen = await shown(pages[0]);
    for (const page of pages) await state(page, 'Disconnected');
    await pages[1].click('text=Water');
    await until('a complaint', async () => (await pages[1].textContent('#error')).length > 0);
    await hub.again();
    for (const page of pages) await state(page, 'Connected');
    await pages[1].click('text=Tea');
    const reader = await hub.read(t, '/events/votes');
    const { Tea, Coffee, Water } = await until('the vote', () => (last(reader)?.Tea === 3 ? last(reader) : undefined));
    // Every vote that was confirmed or shown; one that was not may have been counted before the answer was lost.
    assert.ok(Water >= counted && Water >= seen && Water <= 50, `${counted} confirmed, ${seen} shown, ${Water} counted`);
    const stats = await hub.ask('/stats');
    assert.equal(stats.json.store.events, Tea + Coffee + Water, 'the handler has counted what is in history, each once');
    await both(['Tea: 3', 'Coffee: 1', `Water: ${Water}`], [...pages, late]);
    await hub.kill();
    await hub.again();
    for (const page of pages) await state(page, 'Connected');
    const after = await open();
    await both(['Tea: 3', 'Coffee: 1', `Water: ${Water}`], [after]);
    await pages[0].click('text=Coffee');
    await both(['Tea: 3', 'Coffee: 2', `Water: ${Water}`], [...pages, late, after]);
    assert.deepEqual([...pages[0].faults, ...pages[1].faults], []);
  });
}
