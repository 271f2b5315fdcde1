// The scenarios that every binding runs, and a runner that can fail.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../contract/scenarios/', import.meta.url));
const runner = fileURLToPath(new URL('contract.mjs', import.meta.url));

function run(files) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [runner, ...files], { encoding: 'utf8', timeout: 240_000 });
  return { lines: stdout.split('\n').filter(Boolean), stderr, status };
}

test('every scenario passes', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.txt')).map((name) => join(folder, name));
  const wanted = files.flatMap((file) => readFileSync(file, 'utf8').match(/^scenario /gm)).length;
  const { lines, stderr, status } = run(files);
  assert.deepEqual(lines.filter((line) => !line.startsWith('ok ')), []);
  assert.deepEqual([lines.length, stderr, status], [wanted, '', 0]);
});

test('the runner fails what it does not understand, and what is not so', (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'fanfare-contract-'));
  t.after(() => rmSync(scratch, { recursive: true }));
  const bodies = [
    'start\nfly',
    'start\npublish topic=t data=x color=red',
    'start\nsubscribe r topics=t\npublish topic=t data=x\nexpect r event data=y',
    'start\nsubscribe r topics=t\npublish topic=t data=x\nexpect r nothing',
    'start\nsubscribe r topics=t\nstop\nexpect r end topic_closed',
    'start\nrefused invalid_topic : publish topic=t data=x',
    'expect nobody nothing',
    'start\nagain close t',
    'start\nstats published=1',
  ];
  const file = join(scratch, 'bad.txt');
  writeFileSync(file, bodies.map((body, n) => `scenario s${n}\n${body}\n`).join(''));
  const { lines, status } = run([file]);
  assert.equal(status, 1);
  assert.deepEqual(lines.map((line) => line.split(':')[0]), bodies.map((_, n) => `FAIL s${n}`));
});
