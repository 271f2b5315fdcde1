// Event handlers: refused by name in an addon without them, which a default build is; used in one with them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { Fanfare } from 'fanfare';

// A core module that drops events whose data has four bytes. In text it is in ffi/tests/handlers.rs.
const DROPS_FOUR_BYTES = Buffer.from(
  '0061736d0100000001170260047f7f7f7f017f600a7f7f7f7f7f7f7f7f7f7f017f03030200010503010001072503066d656d'
  + '6f727902000c636162695f7265616c6c6f630000097472616e73666f726d00010a160205004180080b0e0041002009410446'
  + '3a000041000b',
  'hex',
);

const start = (options) => Fanfare.start({ listen: '127.0.0.1:0', ...options });

test('a handler is used or refused by name', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'));
  const file = join(folder, 'four.wasm');
  writeFileSync(file, DROPS_FOUR_BYTES);
  const hub = await start();
  try {
    const loaded = await hub.loadHandler('votes*', file).catch((error) => error);
    if (loaded instanceof Error) {
      assert.ok(!process.env.WITH_HANDLERS, 'this addon was to have handlers');
      assert.deepEqual([loaded.name, loaded.code], ['FanfareError', 'unsupported']);
      assert.match(loaded.message, /without event handlers/);
      await assert.rejects(hub.loadHandler('votes*', DROPS_FOUR_BYTES, { name: 'four' }), { code: 'unsupported' });
      await assert.rejects(start({ handlers: { votes: file } }), { code: 'unsupported', message: /four\.wasm/ });
      assert.deepEqual(hub.handlers(), []);
      return;
    }
    assert.equal(loaded, 'four');
    assert.equal(await hub.loadHandler('votes*', new Uint8Array(DROPS_FOUR_BYTES), { name: 'four' }), 'four-2');
    hub.publish('votes/1', 'four');
    hub.publish('votes/1', 'other');
    const [first, second] = hub.handlers();
    assert.deepEqual([first.name, first.topics, first.calls, first.dropped, first.passed], ['four', 'votes*', 2, 1, 1]);
    assert.deepEqual([second.name, second.calls], ['four-2', 1]);
    // What is dropped has no id, alone or in a batch.
    assert.equal(hub.publish('votes/1', 'four'), undefined);
    const ids = hub.publishBatch(['four', 'other', 'four'].map((data) => ({ topic: 'votes/1', data })));
    assert.deepEqual(ids.map((id) => typeof id), ['undefined', 'string', 'undefined']);
    assert.deepEqual(hub.publishBatch([{ topic: 'votes/1', data: 'four' }]), [undefined]);
    assert.equal(hub.unloadHandler('four'), true);
    assert.deepEqual(hub.handlers().map(({ name }) => name), ['four-2']);
    await assert.rejects(hub.loadHandler('votes*', Buffer.from('no module'), { name: 'broken' }), {
      code: 'invalid_config', message: /broken/,
    });
    const other = await start({ handlers: { votes: pathToFileURL(file) } });
    assert.deepEqual(other.handlers().map(({ name }) => name), ['four']);
    await other.stop({ timeout: 0 });
  } finally {
    await hub.stop({ timeout: 0 });
    rmSync(folder, { recursive: true });
  }
});

// WITH_HANDLERS is the folder of the guide, where this addon has handlers.
if (process.env.WITH_HANDLERS) {
  test('the program of the guide', async () => {
    const guide = readFileSync(join(process.env.WITH_HANDLERS, 'embedding-node.md'), 'utf8');
    const [, program] = /```js\n\/\/ handlers\.mjs\n([^]*?)```/.exec(guide);
    const folder = mkdtempSync(join(tmpdir(), 'fanfare-'));
    try {
      mkdirSync(join(folder, 'node_modules'));
      symlinkSync(fileURLToPath(new URL('..', import.meta.url)), join(folder, 'node_modules', 'fanfare'));
      writeFileSync(join(folder, 'handlers.mjs'), program);
      const { stdout } = await promisify(execFile)(process.execPath, ['handlers.mjs'], { cwd: folder, timeout: 300_000 });
      assert.equal(stdout, 'YES\nhandler_refused handler votes refused the event: vote yes or no\n2 calls\n');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test('wrong arguments', async () => {
  const hub = await start();
  const bytes = Buffer.from('x');
  for (const [topics, source, options] of [
    ['t', bytes, {}], ['t', bytes, { name: '' }], ['t', '', {}], ['t', 'h.wasm', { name: 'h' }], ['t', bytes, { name: '\ud800' }],
  ]) await assert.rejects(hub.loadHandler(topics, source, options), { code: 'invalid_parameter' });
  await assert.rejects(hub.loadHandler('', bytes, { name: 'h' }), { code: 'invalid_topic' });
  await assert.rejects(hub.loadHandler('t', 7), TypeError);
  await assert.rejects(hub.loadHandler('t', bytes, { nmae: 'h' }), TypeError);
  await assert.rejects(start({ handlers: { t: 7 } }), TypeError);
  await assert.rejects(start({ handlers: { 'a,b': 'h.wasm' } }), TypeError);
  assert.throws(() => hub.unloadHandler(7), TypeError);
  assert.equal(hub.unloadHandler('nobody'), false);
  assert.deepEqual(hub.handlers(), []);
  await hub.stop({ timeout: 0 });
  await assert.rejects(hub.loadHandler('t', bytes, { name: 'h' }), { code: 'stopping' });
});
