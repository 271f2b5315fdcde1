// The package itself: its types, its files, and what it says when it is not built.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import * as fanfare from 'fanfare';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('..', import.meta.url));

test('the types hold under tsc --strict', async () => {
  const tsc = join(folder, 'node_modules', '.bin', 'tsc');
  const done = await run(tsc, ['-p', join(folder, 'test', 'types')]).catch((error) => error);
  assert.equal(done.stdout, '');
  assert.equal(done.code ?? 0, 0, done.stderr);
});

test('every public method has its type, and no other has', async () => {
  const types = await readFile(join(folder, 'index.d.ts'), 'utf8');
  for (const name of ['Fanfare', 'Subscription', 'FanfareEvent']) {
    const body = new RegExp(`export class ${name} [^]*?\\n}`).exec(types)[0];
    const declared = [...body.matchAll(/^ {2}(?:get )?(\w+)\??[(<]/gm)].map(([, method]) => method);
    const real = Object.getOwnPropertyNames(fanfare[name].prototype);
    assert.deepEqual([...new Set(declared)].filter((method) => method !== 'constructor').sort(),
      real.filter((method) => method !== 'constructor').sort(), name);
  }
});

test('without its addon it says what to do', async (t) => {
  const copy = await mkdtemp(join(tmpdir(), 'fanfare-'));
  t.after(() => rm(copy, { recursive: true }));
  await cp(join(folder, 'lib'), join(copy, 'lib'), { recursive: true });
  for (const load of [`require(${JSON.stringify(join(copy, 'lib', 'index.cjs'))})`,
    `import(${JSON.stringify(join(copy, 'lib', 'index.mjs'))})`]) {
    const error = await run(process.execPath, ['-e', load]).then(() => null, (failed) => failed);
    assert.ok(error, load);
    assert.match(error.stderr, new RegExp(`the addon is not built.* cd ${copy} && npm install && npm run build`));
    assert.match(error.stderr, /ERR_FANFARE_NOT_BUILT/);
  }
});

test('files are as long as the house allows', async () => {
  for (const part of ['src', 'lib', 'test']) {
    for (const name of await readdir(join(folder, part))) {
      if (!/\.([ch]|[cm]?js|ts)$/.test(name)) continue;
      const lines = (await readFile(join(folder, part, name), 'utf8')).split('\n').length;
      assert.ok(lines <= 501, `${part}/${name}: ${lines} lines`);
    }
  }
});
