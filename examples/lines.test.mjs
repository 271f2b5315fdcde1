// The table of README.md: how long each server is, counted here and compared with what the page says.
// `LINES=write node --test lines.test.mjs` writes it.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { file } from './test/support.mjs';

const ROWS = [
  // Folder, language, on Fanfare, by hand: the application's own lines, then what it shares with the others.
  ['signalling', 'Node, Express', 'signalling/server.mjs', 'by-hand/signalling.mjs', 'by-hand/sse.mjs'],
  ['join', 'Node, TypeScript, Express', 'join/server.ts', 'by-hand/join.mjs', 'by-hand/sse.mjs'],
  ['chat', 'Node', 'chat/server.mjs', 'by-hand/chat.mjs', 'by-hand/sse.mjs'],
  ['chat', 'Python, ASGI', 'chat/server.py'],
  ['chat', 'C', 'chat/server.c'],
  ['board', 'Node, Express', 'board/server.mjs', 'by-hand/board.mjs', 'by-hand/sse.mjs'],
  ['board', 'Python, FastAPI', 'board/server.py', 'by-hand/board.py', 'by-hand/sse.py'],
  ['voting', 'Node, Express', 'voting/server.mjs', 'by-hand/voting.mjs', 'by-hand/sse.mjs'],
  ['voting', 'no server: a handler', 'voting/no-server/tally.js'],
  ['voting', 'no server: a handler in Rust', 'voting/no-server/tally.rs'],
  ['progress', 'Python, Flask, gunicorn', 'progress/server.py', 'by-hand/progress.py', 'by-hand/sse.py'],
  ['tokens', 'Node, Express', 'tokens/server.mjs', 'by-hand/tokens.mjs', 'by-hand/sse.mjs'],
];

/** Lines that are neither empty nor only a comment. */
function count(name) {
  const code = readFileSync(file(name), 'utf8').replaceAll(/^\s*\/\*[^]*?\*\/|^\s*"""[^]*?"""/gm, '');
  return code.split('\n').filter((line) => line.trim() && !/^\s*(\/\/|#(?!include|define))/.test(line)).length;
}

const readme = readFileSync(file('README.md'), 'utf8');
const [, before, , after] = /^([^]*<!-- lines -->\n)([^]*?)(<!-- end -->[^]*)$/.exec(readme);
const table = ['| example | with | on Fanfare | by hand |', '|---|---|---:|---:|', ...ROWS.map(([folder, kind, ours, own, shared]) => {
  const theirs = own ? `${count(own)} + ${count(shared)}` : '';
  return `| [${folder}](${folder}/) | ${kind} | [${count(ours)}](${ours}) | ${theirs} |`;
}), ''].join('\n');

test('the table is that of the files', () => {
  if (process.env.LINES === 'write') writeFileSync(file('README.md'), before + table + after);
  else assert.equal(readme, before + table + after);
});

test('every example is smaller than its equivalent by hand, and is in the table with a page and a picture', () => {
  for (const [folder, kind, ours, own, shared] of ROWS) {
    if (own) assert.ok(count(ours) < count(own) + count(shared), `${folder}, ${kind}`);
  }
  const folders = readdirSync(file('.'), { withFileTypes: true }).filter((entry) => entry.isDirectory() && existsSync(file(`${entry.name}/index.html`))
    || existsSync(file(`${entry.name}/public/index.html`))).map(({ name }) => name);
  assert.deepEqual([...new Set(ROWS.map(([folder]) => folder))].toSorted(), folders.toSorted());
  for (const folder of folders) {
    assert.ok(existsSync(file(`${folder}/README.md`)), folder);
    assert.ok(existsSync(file(`../docs/examples/${folder}.png`)), folder);
    assert.ok(readme.includes(`../docs/examples/${folder}.png`), folder);
  }
});
