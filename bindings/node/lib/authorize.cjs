// Requests to the hub's own listener, decided by the program's function.

'use strict';

const { types } = require('node:util');

const { argument } = require('./errors.cjs');
const native = require('./native.cjs');

const ACTIONS = new Map([[native.SUBSCRIBE, 'subscribe'], [native.PUBLISH, 'publish'], [native.CLOSE, 'close']]);
/** Every action is asked about: what a program forgot must not be open. */
const ALL = [...ACTIONS.keys()].reduce((sum, action) => sum + action, 0);

/** What the program sees of a request. */
function describe([action, method, path, query, address, lastEventId, client, topics, flat]) {
  const headers = Object.create(null);
  for (let at = 0; at < flat.length; at += 2) {
    const [name, value] = [flat[at], flat[at + 1]];
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { action: ACTIONS.get(action), method, path, query: query ?? '', address, lastEventId, client, topics, headers };
}

/** Asks `authorize` and answers; `failed` gets what it throws, for which the client gets a 500. */
function decide(core, authorize, id, detail, failed) {
  const fail = (error) => {
    if (core.handle !== null) native.reject(core.handle, id, 500);
    failed(error);
  };
  const settle = (verdict) => {
    if (core.handle === null) return;
    try {
      answer(core.handle, id, verdict);
    } catch (error) {
      fail(error);
    }
  };
  try {
    const verdict = authorize(describe(detail));
    if (types.isPromise(verdict) || typeof verdict?.then === 'function') Promise.resolve(verdict).then(settle, fail);
    else settle(verdict);
  } catch (error) {
    fail(error);
  }
}

function answer(handle, id, verdict) {
  if (verdict === true) native.accept(handle, id);
  else if (typeof verdict === 'string') native.accept(handle, id, verdict);
  else if (verdict === false) native.reject(handle, id, 403);
  else if (typeof verdict?.status === 'number') native.reject(handle, id, verdict.status, verdict.message);
  else throw argument('authorize has to give true, false, the name of the client, or { status, message }');
}

module.exports = { ALL, decide };
