// An event's data as the addon takes it.

'use strict';

const { types } = require('node:util');

const { argument } = require('./errors.cjs');

/** A string, or bytes; anything else becomes JSON. */
function payload(data) {
  if (typeof data === 'string' || data === undefined || types.isUint8Array(data)) return data;
  if (ArrayBuffer.isView(data) || types.isAnyArrayBuffer(data)) {
    throw argument('data: bytes have to be in a Buffer or a Uint8Array');
  }
  const text = JSON.stringify(data);
  if (text === undefined) throw argument(`data: a ${typeof data} has no JSON`);
  return text;
}

module.exports = { payload };
