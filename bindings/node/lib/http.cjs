// Answering requests of the host's own web server with a stream.
//
// A plain HTTP/1 connection on Unix is handed over: the library works on a duplicate of the socket, and Node's is destroyed,
// which closes it without ending the connection (`end` would). Node then sees the response close and forgets the
// connection. Everything else (TLS, HTTP/2, a socket without a descriptor, bytes that have not left) is written by the host,
// from the same call.

'use strict';

const { validateHeaderName, validateHeaderValue } = require('node:http');

const { argument } = require('./errors.cjs');
const { HandedOver, Written } = require('./streams.cjs');

/** What every stream says of itself, so that a host's own value has no place. */
const OWN = new Set([
  'content-type', 'cache-control', 'x-accel-buffering', 'x-content-type-options', 'content-length', 'content-encoding',
  'content-range', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'trailer', 'te', 'date',
]);
const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache, no-store, no-transform',
  'X-Accel-Buffering': 'no',
  'X-Content-Type-Options': 'nosniff',
};

/** The id after which a client wants to go on: the header of an EventSource that comes back, or the URL's. */
function lastEventId(header, url) {
  if (header) return String(header);
  const query = url.indexOf('?');
  return query < 0 ? undefined : new URLSearchParams(url.slice(query + 1)).get('last_event_id') ?? undefined;
}

const TEXT = { 'Content-Type': 'text/plain' };
const UNAVAILABLE = { ...TEXT, 'Retry-After': '5' };

/** Node's own objects behind those of a framework. */
function unwrap(request, response) {
  const fastify = typeof response.hijack === 'function' && response.raw ? response : null;
  const req = fastify ? request.raw : request;
  const res = fastify ? fastify.raw : response;
  if (typeof res?.getHeaders !== 'function' || typeof req?.headers !== 'object') {
    throw argument('accept takes the request and the response of node:http, node:http2, Express or Fastify');
  }
  return { req, res, fastify };
}

/** The host's headers by name in lower case, those of `accept` last; without the stream's own. */
function headersOf(response, added = {}) {
  const all = new Map();
  for (const [name, value] of Object.entries(added)) {
    validateHeaderName(name);
    for (const each of Array.isArray(value) ? value : [value]) validateHeaderValue(name, each);
  }
  for (const [name, value] of [...Object.entries(response.getHeaders()), ...Object.entries(added)]) {
    const lower = name.toLowerCase();
    if (value !== undefined && !OWN.has(lower)) all.set(lower, Array.isArray(value) ? value.map(String) : [String(value)]);
  }
  return all;
}

/** The descriptor to hand over; null if this connection has none, or is in a state that cannot be. */
function descriptor(req, res) {
  const socket = req.socket;
  const reads = 'transfer-encoding' in req.headers || Number(req.headers['content-length'] ?? 0) !== 0;
  if (process.platform === 'win32' || req.httpVersionMajor !== 1 || !socket || socket !== res.socket) return null;
  if (socket.encrypted || socket.destroyed || socket.writableEnded || (reads && !req.complete)) return null;
  if (socket.writableLength !== 0 || res.writableLength !== 0) return null;
  const fd = socket._handle?.fd;
  return Number.isInteger(fd) && fd >= 0 ? fd : null;
}

/** Names and values in one array. Null if a value is not ASCII, which Node would write in Latin-1. */
function flat(headers) {
  const list = [];
  for (const [name, values] of headers) {
    for (const value of values) {
      if (/[^\t\x20-\x7e]/.test(value)) return null;
      list.push(name, value);
    }
  }
  return list;
}

/** See index.d.ts. `tell(name, ...)` emits on the hub. */
function accept(core, request, response, options, tell) {
  const { req, res, fastify } = unwrap(request, response);
  if (res.headersSent) throw Object.assign(new Error('accept: this response has begun already'), { code: 'ERR_HTTP_HEADERS_SENT' });
  if (res.destroyed || res.writableEnded || req.socket?.destroyed) return null;
  const job = {
    core, req, res, fastify, tell,
    headers: headersOf(response, options.headers),
    reader: { ...options, since: options.since ?? lastEventId(req.headers['last-event-id'], req.url) },
  };
  if (req.method === 'HEAD') {
    answer(job, 200, HEADERS);
    return null;
  }
  try {
    return (options.handoff !== false && handOver(job)) || write(job);
  } catch (error) {
    // 204 tells a browser not to come back: nothing will ever be published there.
    if (error.code === 'topic_closed') answer(job, 204);
    // The client's own, not ours.
    else if (error.code === 'invalid_id' && options.since === undefined) answer(job, 400, TEXT, `${error.message}\n`);
    else if (error.code === 'stopping') answer(job, 503, UNAVAILABLE, `${error.message}\n`);
    else throw error;
    return null;
  }
}

/** Gives the socket away. Null, with nothing changed, where that is not possible. */
function handOver({ core, req, res, fastify, tell, headers, reader }) {
  const fd = descriptor(req, res);
  const list = fd === null ? null : flat(headers);
  if (list === null) return null;
  let over;
  try {
    over = new HandedOver(core, reader, { fd, headers: list, http10: req.httpVersionMinor === 0 }, tell);
  } catch (error) {
    if (error.code === 'unsupported') return null;
    throw error;
  }
  fastify?.hijack();
  req.socket.destroy();
  return over.stream;
}

/** Writes the stream through the host's response. */
function write(job) {
  const { core, res, tell, reader } = job;
  const sink = { write: (bytes) => res.write(bytes), end: () => res.end() };
  // Before the head, so that a refusal can still be answered.
  const written = new Written(core, reader, sink, tell, { weak: false });
  head(job, 200, HEADERS);
  // A stream is quiet for as long as it likes: the hub's heartbeats watch it.
  res.setTimeout?.(0);
  res.on('drain', () => written.resume());
  res.on('close', () => written.gone());
  // A client that leaves is no error of the host's.
  res.on('error', () => written.gone());
  // Its opening, and the head before it.
  written.resume();
  if (!res.headersSent) res.flushHeaders();
  return written.stream;
}

/** Sets status and headers: the host's, without those that are the stream's own, and `fields`. */
function head({ res, fastify, headers }, status, fields) {
  fastify?.hijack();
  for (const name of res.getHeaderNames()) if (OWN.has(name)) res.removeHeader(name);
  for (const [name, values] of headers) res.setHeader(name, values.length === 1 ? values[0] : values);
  for (const [name, value] of Object.entries(fields)) res.setHeader(name, value);
  res.statusCode = status;
}

function answer(job, status, fields = {}, text = '') {
  head(job, status, fields);
  job.res.end(text);
}

/** The same for servers that speak `Request` and `Response`. */
function respond(core, request, options, tell) {
  const reader = { ...options, since: options.since ?? lastEventId(request.headers.get('last-event-id'), request.url) };
  const headers = new Headers(options.headers);
  for (const name of OWN) headers.delete(name);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  if (request.method === 'HEAD') return new Response(null, { headers });
  let controller = null;
  let wanted = null;
  const served = () => {
    written.wait(false);
    wanted?.();
    wanted = null;
  };
  const sink = {
    write: (bytes) => {
      controller.enqueue(bytes);
      served();
      return false;
    },
    end: () => {
      controller.close();
      served();
    },
  };
  let written;
  try {
    written = new Written(core, reader, sink, tell, { weak: true });
  } catch (error) {
    if (error.code === 'topic_closed') return new Response(null, { status: 204, headers: new Headers(options.headers) });
    if (error.code === 'invalid_id' && options.since === undefined) {
      return new Response(`${error.message}\n`, { status: 400, headers: TEXT });
    }
    if (error.code === 'stopping') return new Response(`${error.message}\n`, { status: 503, headers: UNAVAILABLE });
    throw error;
  }
  request.signal?.addEventListener('abort', () => written.stream.close(), { once: true });
  // Nothing is pulled before it is read, and nothing waits between.
  const body = new ReadableStream({
    start: (own) => { controller = own; },
    pull: () => new Promise((resolve) => {
      wanted = resolve;
      written.wait(true);
      written.resume();
    }),
    cancel: () => written.gone(),
  }, { highWaterMark: 0 });
  return new Response(body, { headers });
}

module.exports = { accept, respond };
