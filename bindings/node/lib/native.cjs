// The addon: the C of ../src with libfanfare in it. It is built, not installed: see ../build.mjs.

'use strict';

const { join } = require('node:path');

const { FanfareError } = require('./errors.cjs');

const folder = join(__dirname, '..');
const file = join(folder, 'build', 'fanfare.node');

let native;
try {
  native = require(file);
} catch (cause) {
  const why = cause.code === 'MODULE_NOT_FOUND' ? 'the addon is not built' : `the addon does not load (${cause.message})`;
  const error = new Error(`fanfare: ${why}. Build it, with Rust and a C compiler: cd ${folder} && npm install && npm run build`, {
    cause,
  });
  error.code = 'ERR_FANFARE_NOT_BUILT';
  throw error;
}
native.setErrorClass(FanfareError);

module.exports = native;
