// What a reader wants, as the addon takes it; the same for subscriptions and streams.

'use strict';

const { argument, FanfareError, refuseUnknown } = require('./errors.cjs');
const native = require('./native.cjs');
const { payload } = require('./payload.cjs');

const LAG = { disconnect: native.LAG_DISCONNECT, skip: native.LAG_SKIP, conflate: native.LAG_CONFLATE };

const GREETING = new Set(['event', 'data', 'retry']);

/** The arguments `topics, since, replay, client, events, lag, user, greeting`. */
function readerArguments(topics, { since, replay, client, events, lag, greeting }, user) {
  return [names(topics, 'topics'), since, history(replay), client, events === undefined ? undefined : names(events, 'events'),
    policy(lag), user, greeting === undefined ? undefined : flat(greeting)];
}

/** One event or several, three values for each. */
function flat(greeting) {
  return (Array.isArray(greeting) ? greeting : [greeting]).flatMap((event) => {
    if (event === null || typeof event !== 'object') throw argument('greeting has to be an event or an array of events');
    refuseUnknown(event, GREETING, 'greeting');
    return [event.event, payload(event.data), event.retry];
  });
}

function names(value, what) {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value;
  throw argument(`${what} has to be a string or an array of strings`);
}

function history(replay) {
  if (replay === 'all') return Infinity;
  if (replay === 'none') return 0;
  return replay;
}

function policy(lag) {
  if (lag === undefined || lag === null) return native.LAG_DEFAULT;
  if (Object.hasOwn(LAG, lag)) return LAG[lag];
  throw new FanfareError(`lag: ${JSON.stringify(lag)} is none of ${Object.keys(LAG).join(', ')}`, 'invalid_parameter');
}

module.exports = { readerArguments };
