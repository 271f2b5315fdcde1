// Progress of long jobs in Flask under one synchronous gunicorn worker, which gives its sockets away; and by hand, which needs threads.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LIMIT, Server, file, openPage, screenshot, setting, shows, startBrowser, texts, until } from '../test/support.mjs';

const gunicorn = (folder, app, ...more) => (t) => Server.start(t, [
  setting('FANFARE_PYTHON'), '-m', 'gunicorn', '--chdir', file(folder), '--bind', '127.0.0.1:{port}', '--workers', '1',
  '--no-control-socket', ...more, app,
]);
const servers = {
  Fanfare: gunicorn('progress', 'server:app'),
  'by hand': gunicorn('by-hand', 'progress:app', '--threads', '16'),
};
const done = (reader) => reader.data('progress').map((data) => JSON.parse(data).done);

async function order(server, limit) {
  const answer = await server.post('/jobs', { limit });
  assert.equal(answer.status, 202);
  return answer.json.id;
}

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: every step, a result, an end`, LIMIT, async (t) => {
    const server = await start(t);
    const id = await order(server, 100_000);
    const reader = await server.read(t, `/jobs/${id}/events`);
    await until('ten steps', () => done(reader).length >= 10);
    reader.close();
    const had = done(reader);
    const rest = await server.read(t, `/jobs/${id}/events`, { lastEventId: reader.lastId });
    await until('the end', () => rest.ended);
    assert.deepEqual([...had, ...done(rest)], Array.from({ length: 100 }, (_, at) => (at + 1) * 1000));
    assert.deepEqual(rest.data('result').map(JSON.parse), [{ found: 9592 }]);
    const headers = { 'Last-Event-ID': rest.lastId };
    assert.equal((await server.ask(`/jobs/${id}/events`, { headers })).status, 204);
    assert.equal((await server.ask('/jobs/nobody/events')).status, 404);
    for (const body of [{}, { limit: 1 }, { limit: 1e9 }, { limit: '9' }, []]) assert.equal((await server.post('/jobs', body)).status, 400);
  });
}

test('twenty readers do not keep the one worker from answering', LIMIT, async (t) => {
  const server = await servers.Fanfare(t);
  const id = await order(server, 1_000_000);
  const readers = [];
  for (let count = 0; count < 20; count += 1) readers.push(await server.read(t, `/jobs/${id}/events`));
  // Each of them is open, and the worker has time.
  assert.equal((await server.ask('/style.css')).status, 200);
  for (const reader of readers) await reader.has('result', 1);
  for (const reader of readers) assert.equal(done(reader).length, 100);
});

test('in a browser: several jobs, loaded again, and through a kill', LIMIT, async (t) => {
  const server = await servers.Fanfare(t);
  const context = await (await startBrowser(t)).newContext();
  const page = await openPage(context, server.url);
  const begin = async (limit) => {
    const before = (await texts(page, 'article')).length;
    await page.fill('#limit', String(limit));
    await page.click('button');
    await until('the job', async () => (await texts(page, 'article')).length > before);
  };
  await begin(300_000);
  await begin(20_000_000);
  await shows(page, 'article h1', ['Primes below 20,000,000', '25,997 primes below 300,000']);
  await until('a quarter of it', async () => (await page.$eval('progress', (bar) => bar.position)) > 0.25);
  await screenshot(page, 'progress', { width: 760, height: 470 });
  // What has been so far comes again, then the rest.
  await page.reload();
  await shows(page, 'article h1', ['1,270,607 primes below 20,000,000', '25,997 primes below 300,000']);
  await shows(page, 'article .state', ['Done', 'Done']);

  await begin(50_000_000);
  await until('a start', async () => (await page.$eval('progress', (bar) => bar.position)) > 0.05);
  await server.kill();
  await until('to notice', async () => (await texts(page, 'article .state'))[0] === 'Connecting...');
  await server.again();
  await shows(page, 'article .state', ['Lost with the server', 'Done', 'Done']);
  await begin(1000);
  await until('the result', async () => (await texts(page, 'article h1'))[0] === '168 primes below 1,000');
  assert.deepEqual(page.faults, []);
});
