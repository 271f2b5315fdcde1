// Who may subscribe, publish and close on the hub's own listener is the program's to say.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { Fanfare } from 'fanfare';

import { hubFor, until } from './support.mjs';

const publish = (hub, topic, headers = {}) => fetch(`${hub.url}/events/${topic}?event=e`, { method: 'POST', body: 'x', headers });

async function open(hub, path, headers = {}) {
  const response = await fetch(hub.url + path, { headers });
  const reader = response.body.getReader();
  return { response, reader, status: response.status };
}

test('it sees the request, and its answer counts', async (t) => {
  const seen = [];
  const hub = await hubFor(t, {
    authorize(request) {
      seen.push(request);
      switch (request.headers.authorization) {
        case 'ann': return 'ann';
        case 'later': return new Promise((resolve) => setTimeout(resolve, 5, 'bob'));
        case 'anybody': return true;
        case 'pay': return { status: 402, message: 'money first' };
        default: return false;
      }
    },
  });
  assert.equal((await publish(hub, 't')).status, 403);
  const refused = await publish(hub, 't', { authorization: 'pay' });
  assert.equal(refused.status, 402);
  assert.match(await refused.text(), /money first/);
  assert.equal((await publish(hub, 't', { authorization: 'anybody' })).status, 200);
  assert.equal((await publish(hub, 't', { authorization: 'later' })).status, 200);
  assert.equal(hub.stats().published, 2);

  const { reader, status } = await open(hub, '/events?topic=a&topic=b&client=forged', {
    authorization: 'ann', 'last-event-id': 'some-id', 'x-twice': 'caf\u00e9',
  });
  assert.equal(status, 200);
  const asked = seen.at(-1);
  assert.deepEqual([asked.action, asked.method, asked.path, asked.query, asked.address, asked.lastEventId, asked.client],
    ['subscribe', 'GET', '/events', 'topic=a&topic=b&client=forged', '127.0.0.1', 'some-id', 'forged']);
  assert.deepEqual(asked.topics, ['a', 'b']);
  assert.equal(asked.headers['x-twice'], 'caf\u00e9');
  assert.equal(Object.getPrototypeOf(asked.headers), null);
  assert.deepEqual(seen.slice(0, 2).map(({ action, method }) => [action, method]), [['publish', 'POST'], ['publish', 'POST']]);

  // It is ann, whatever it said: what is not for ann does not come.
  hub.publish('a', 'not for ann', { except: 'ann' });
  hub.publish('a', 'for all', { except: 'forged' });
  let text = '';
  while (!text.includes('for all')) text += Buffer.from((await reader.read()).value).toString();
  assert.doesNotMatch(text, /not for ann/);
  hub.revoke('ann');
  while (!(await reader.read()).done);

  assert.equal((await fetch(`${hub.url}/events/a`, { method: 'DELETE' })).status, 403);
  assert.equal(seen.at(-1).action, 'close');
});

test('what it throws is a 500 for the client and an error for the program', async (t) => {
  const verdicts = [
    () => { throw new Error('in the hook'); },
    async () => { throw new Error('in the promise'); },
    () => undefined,
    () => null,
    () => ({}),
    () => 5,
    () => ({ status: 200 }),
    () => ({ status: 'x' }),
    () => 'a\nb',
    () => '',
    () => ({ status: 400, message: 5 }),
    () => { throw 'no error at all'; },
    () => ({ get then() { throw new Error('in the getter'); } }),
  ];
  let verdict;
  const hub = await hubFor(t, { authorize: (request) => verdict(request) });
  const errors = [];
  hub.on('error', (error) => errors.push(error));
  for (verdict of verdicts) {
    const count = errors.length;
    const response = await publish(hub, 't');
    assert.equal(response.status, 500, String(verdict));
    assert.doesNotMatch(await response.text(), /in the (hook|promise|getter)/);
    await until('an error', () => errors.length === count + 1);
  }
  assert.equal(hub.stats().published, 0);
  verdict = () => true;
  assert.equal((await publish(hub, 't')).status, 200);

  // Without a listener it is a warning, and the process goes on.
  hub.removeAllListeners('error');
  verdict = verdicts[0];
  const warned = once(process, 'warning');
  assert.equal((await publish(hub, 't')).status, 500);
  assert.match((await warned)[0].message, /in the hook/);
});

test('an answer that comes too late, or behind the stop, hurts nobody', async (t) => {
  const answers = [];
  const authorize = () => new Promise((resolve) => { answers.push(resolve); });
  const hub = await hubFor(t, { authorize, 'timeouts.authorize': '50ms' });
  assert.equal((await publish(hub, 't')).status, 503);
  answers[0](true);
  const pending = publish(hub, 't').then(({ status }) => status, () => 'cut');
  await until('a question', () => answers.length === 2);
  await hub.stop({ timeout: 0 });
  answers[1]('ann');
  assert.ok([503, 'cut'].includes(await pending));
});

test('authorize has to be a function', async () => {
  await assert.rejects(Fanfare.start({ listen: '127.0.0.1:0', authorize: true }), TypeError);
});
