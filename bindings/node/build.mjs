// Builds the addon: libfanfare as a static library by cargo, the C of src/ over include/fanfare.h by `cc`, both into
// build/fanfare.node. Needs Rust, a C compiler, and the headers of Node-API: of the Node that runs this, or of the package
// node-api-headers.
//
//     node build.mjs [--debug] [--sanitize] [--output FILE]
//
// --sanitize builds one with AddressSanitizer into build/sanitized/fanfare.node, for tests.
//
// FANFARE_FEATURES names features of the library beyond its own: `wasm-jit` for event handlers. FANFARE_LIBRARY names a libfanfare.a
// that is built already.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const debug = process.argv.includes('--debug');

/** Runs a program and returns what it wrote; its messages pass through. */
function run(program, args, options = {}) {
  const done = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.error) fail(`cannot run \`${program}\`: ${done.error.message}`);
  if (done.status !== 0) fail(`\`${program} ${args.join(' ')}\` failed\n${done.stderr ?? ''}`);
  return done;
}

function fail(message) {
  console.error(`fanfare: ${message}`);
  process.exit(1);
}

/** The folder with node_api.h. */
function headers() {
  const own = join(dirname(process.execPath), '..', 'include', 'node');
  if (existsSync(join(own, 'node_api.h'))) return own;
  try {
    return createRequire(import.meta.url)('node-api-headers').include_dir;
  } catch {
    return fail('no node_api.h: run `npm install` in bindings/node, which brings node-api-headers');
  }
}

/** What an archive made by Rust needs where cargo does not say it (`rustc --print native-static-libs`). */
const NEEDED = process.platform === 'linux' ? ['-lgcc_s', '-lutil', '-lrt', '-lpthread', '-lm', '-ldl', '-lc'] : ['-lSystem', '-lc', '-lm'];

/** Builds the static library; returns its path and the system libraries that it needs. */
function library() {
  const given = process.env.FANFARE_LIBRARY;
  if (given) {
    if (!existsSync(given)) fail(`FANFARE_LIBRARY: there is no ${given}`);
    return { file: given, libraries: NEEDED };
  }
  const features = process.env.FANFARE_FEATURES;
  const profile = [...(debug ? [] : ['--release']), ...(features ? ['--features', features] : [])];
  const cargo = process.env.CARGO ?? 'cargo';
  // Cargo says the libraries again when there is nothing to build.
  const built = run(cargo, [
    'rustc', '-p', 'fanfare-ffi', ...profile, '--crate-type', 'staticlib', '--message-format=json', '--', '--print',
    'native-static-libs',
  ], { stdio: ['ignore', 'pipe', 'pipe'] });
  let file;
  let libraries = [];
  for (const line of built.stdout.split('\n').filter(Boolean)) {
    const message = JSON.parse(line);
    if (message.reason === 'compiler-artifact' && message.target.name === 'fanfare') {
      file = message.filenames.find((name) => name.endsWith('.a')) ?? file;
    }
    const said = /native-static-libs: (.*)/.exec(message.message?.message ?? '');
    if (said) libraries = said[1].trim().split(/\s+/);
  }
  if (!file) fail(`cargo built no static library\n${built.stderr}`);
  return { file, libraries };
}

if (process.platform === 'win32') fail('this addon is for Unix systems');
const { file, libraries } = library();
const sources = readdirSync(join(here, 'src')).filter((name) => name.endsWith('.c')).map((name) => join(here, 'src', name));
const sanitize = process.argv.includes('--sanitize');
const at = process.argv.indexOf('--output');
if (at > 0 && !process.argv[at + 1]) fail('--output needs a file');
const output = at > 0 ? resolve(process.argv[at + 1]) : join(here, 'build', sanitize ? 'sanitized' : '', 'fanfare.node');
const checked = sanitize ? ['-O1', '-fsanitize=address', '-fno-omit-frame-pointer'] : ['-O2'];
const linked = process.platform === 'darwin'
  ? ['-bundle', '-undefined', 'dynamic_lookup']
  // The library's threads outlive a worker that loaded the addon: it is never unloaded. Its symbols are nobody else's.
  : ['-shared', '-Wl,-z,nodelete', '-Wl,--exclude-libs,ALL'];
mkdirSync(dirname(output), { recursive: true });
run(process.env.CC ?? 'cc', [
  '-std=c11', ...checked, '-g', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra', '-Werror', '-DNAPI_VERSION=8',
  `-I${join(root, 'include')}`, `-isystem${headers()}`, ...sources, file, ...libraries, ...linked, '-o', `${output}.new`,
], { stdio: ['ignore', 'inherit', 'inherit'] });
// In one step: a program that has the old one loaded keeps it.
renameSync(`${output}.new`, output);
console.log(`fanfare: built ${output}`);
