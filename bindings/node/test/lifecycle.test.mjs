// Starting, stopping and leaving: nothing stays behind, nothing hangs, nothing crashes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';

import { Fanfare } from 'fanfare';

import { hubFor, until } from './support.mjs';

const run = promisify(execFile);
const program = (name) => fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url));
const soak = Boolean(process.env.FANFARE_SOAK);
const HANG = { timeout: 120_000, killSignal: 'SIGKILL' };

test('a hundred starts and stops leave no descriptor, no thread and no object', async () => {
  const { stdout } = await run(process.execPath, ['--expose-gc', program('cycles'), soak ? '1000' : '100'], soak ? {} : HANG);
  const { before, after, left } = JSON.parse(stdout);
  assert.deepEqual(after, before);
  assert.equal(left, 0, 'hubs that the collector could not take');
});

for (const way of ['exit', 'end', 'stop', 'start']) {
  test(`a process leaves with many streams open: ${way}`, async () => {
    for (let round = 0; round < (soak ? 100 : way === 'exit' ? 20 : 5); round += 1) {
      // `execFile` rejects for any other status, and for a signal.
      const { stdout, stderr } = await run(process.execPath, [program('exit'), way, soak ? '1000' : '200'], HANG);
      assert.deepEqual([stdout, stderr], ['up\n', '']);
    }
  });
}

const startWorker = async (how) => {
  const worker = new Worker(program('worker'), { workerData: how });
  // Before the message: on a busy machine Node tells of both in one turn.
  const exit = once(worker, 'exit');
  exit.catch(() => {});
  const [message] = await once(worker, 'message');
  assert.equal(message.data, 'hello');
  return { worker, url: message.url, exit };
};
const listens = (url) => fetch(`${url}/healthz`).then((response) => response.ok, () => false);

test('workers have hubs of their own, which end with them', async () => {
  for (const how of ['stop', 'leave', 'exit']) {
    const { url, exit } = await startWorker(how);
    assert.deepEqual(await exit, [0], how);
    await until('a freed port', async () => !await listens(url));
  }
});

test('workers are terminated while they publish and read', async () => {
  for (let round = 0; round < (soak ? 100 : 8); round += 1) {
    const workers = await Promise.all([startWorker('run'), startWorker('run')]);
    assert.ok(await listens(workers[0].url));
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
    for (const { url } of workers) assert.equal(await listens(url), false);
  }
});

test('a worker is terminated while its hub starts or stops', async () => {
  for (let round = 0; round < 10; round += 1) {
    const code = `
      import { parentPort } from 'node:worker_threads';
      import { Fanfare } from ${JSON.stringify(import.meta.resolve('fanfare'))};
      parentPort.postMessage('up');
      for (;;) { const hub = await Fanfare.start({ listen: '127.0.0.1:0' }); await hub.stop({ timeout: 0 }); }`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    await once(worker, 'message');
    await new Promise((resolve) => setTimeout(resolve, round * 3));
    await worker.terminate();
  }
});

test('a stop that is refused can be asked again', async (t) => {
  const hub = await hubFor(t);
  await assert.rejects(hub.stop({ timeout: -1 }), { code: 'invalid_parameter' });
  hub.publish('t', 'still here');
  assert.deepEqual(await hub.stop({ timeout: 0 }), { streams: 0, cut: 0 });
});

test('many hubs stop at once', async () => {
  const hubs = await Promise.all(Array.from({ length: 20 }, () => Fanfare.start({ listen: '127.0.0.1:0' })));
  assert.equal(new Set(hubs.map(({ url }) => url)).size, hubs.length);
  await Promise.all(hubs.map((hub) => hub.stop({ timeout: 0 })));
});

test('`ref` keeps a process, and a signal still ends it', async () => {
  const code = `import { Fanfare } from ${JSON.stringify(import.meta.resolve('fanfare'))};
    const hub = await Fanfare.start({ listen: '127.0.0.1:0' });
    hub.ref();
    process.on('SIGTERM', async () => { await hub.stop({ timeout: 0 }); console.log('stopped'); });
    console.log('up');`;
  const child = execFile(process.execPath, ['--input-type=module', '-e', code]);
  let output = '';
  child.stdout.on('data', (text) => { output += text; });
  await until('a start', () => output === 'up\n');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(child.exitCode, null);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.equal(output, 'up\nstopped\n');
});
