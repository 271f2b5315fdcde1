// A resumable stream of tokens: read in pieces, by reload, after its end, and through a kill.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LIMIT, Server, file, openPage, screenshot, shows, startBrowser, state, until } from '../test/support.mjs';

const servers = {
  Fanfare: (t) => Server.start(t, ['node', file('tokens/server.mjs')]),
  'by hand': (t) => Server.start(t, ['node', file('by-hand/tokens.mjs')]),
};
const tokens = (reader) => reader.data('message').join('');
const ends = (reader) => until('the end of the answer', () => reader.ended);

async function ask(server, prompt = 'Why?') {
  const answer = await server.post('/answers', { prompt });
  assert.equal(answer.status, 201);
  return answer.json.id;
}

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: in pieces it is the same text; at the end there is nothing to come back for`, LIMIT, async (t) => {
    const server = await start(t);
    const id = await ask(server);
    const whole = await server.read(t, `/answers/${id}`);
    // Another reader is cut again and again, and goes on by its last id, by header and by URL.
    let text = '';
    let last;
    for (let piece = 0; piece < 5; piece += 1) {
      const path = piece % 2 && last ? `/answers/${id}?last_event_id=${last}` : `/answers/${id}`;
      const reader = await server.read(t, path, { lastEventId: piece % 2 ? undefined : last });
      const wanted = 5;
      await until('some tokens', () => reader.events.length >= wanted);
      const part = reader.events.slice(0, wanted);
      reader.close();
      text += part.map(({ data }) => data).join('');
      last = part.at(-1).id;
    }
    await ends(whole);
    assert.deepEqual(whole.data('done'), ['']);
    assert.match(tokens(whole), /^You asked: “Why\?”\n\nAn .*\.(\n\n)?$/s);
    assert.ok(tokens(whole).startsWith(text), text);
    // The rest, however late; then 204, after which an EventSource stays away.
    const rest = await server.read(t, `/answers/${id}`, { lastEventId: last });
    await ends(rest);
    assert.equal(text + tokens(rest), tokens(whole));
    assert.equal((await server.ask(`/answers/${id}`, { headers: { 'Last-Event-ID': whole.lastId } })).status, 204);
    const late = await server.read(t, `/answers/${id}`);
    await ends(late);
    assert.equal(tokens(late), tokens(whole));
  });

  test(`${name}: what is not there is a 404, and what is no prompt a 400`, LIMIT, async (t) => {
    const server = await start(t);
    assert.equal((await server.ask('/answers/nobody-asked')).status, 404);
    for (const body of [{}, { prompt: 1 }, { prompt: 'x'.repeat(201) }]) assert.equal((await server.post('/answers', body)).status, 400);
  });
}

test('in a browser: loaded again in the middle, and through a kill', LIMIT, async (t) => {
  const server = await servers.Fanfare(t);
  const context = await (await startBrowser(t)).newContext();
  const page = await openPage(context, server.url);
  const length = () => page.textContent('#answer').then((text) => text.length);
  await page.click('button');
  await until('half a hundred characters', async () => (await length()) > 80);
  const id = new URL(page.url()).hash.slice(1);
  const asked = page.waitForRequest((request) => request.url().includes(`/answers/${id}`));
  await page.reload();
  // It asks for what it does not have.
  assert.match(new URL((await asked).url()).searchParams.get('last_event_id'), /^\w+-\d+$/);
  await until('more', async () => (await length()) > 200);
  await screenshot(page, 'tokens', { width: 760, height: 500 });
  await page.reload();
  await state(page, 'Complete');
  const whole = await server.read(t, `/answers/${id}`);
  await ends(whole);
  assert.equal(await page.textContent('#answer'), tokens(whole));
  // Another tab gets all of it, a tab that has it nothing more.
  const other = await openPage(context, `${server.url}/#${id}`);
  await state(other, 'Complete');
  assert.equal(await other.textContent('#answer'), tokens(whole));
  await page.reload();
  await state(page, 'Complete');
  assert.equal(await page.textContent('#answer'), tokens(whole));

  // Killed in the middle: what came stays on the page, which says that the rest does not exist.
  await page.click('button');
  await until('some of the next', async () => new URL(page.url()).hash !== `#${id}` && (await length()) > 60);
  await server.kill();
  await state(page, 'Connecting...');
  const before = await page.textContent('#answer');
  await server.again();
  await shows(page, '#state', ['Lost with the server: ask again']);
  assert.equal(await page.textContent('#answer'), before);
  await page.click('button');
  await state(page, 'Complete');
  assert.deepEqual([...page.faults, ...other.faults], []);
});
