// The hub as programs see it.

'use strict';

const { EventEmitter } = require('node:events');
const { fileURLToPath } = require('node:url');
const { types } = require('node:util');

const { ALL, decide } = require('./authorize.cjs');
const { Core } = require('./core.cjs');
const { argument, FanfareError, refuseUnknown } = require('./errors.cjs');
const { accept, respond } = require('./http.cjs');
const native = require('./native.cjs');
const { configuration, flatten, listHandlers } = require('./options.cjs');
const { payload } = require('./payload.cjs');
const { Subscription } = require('./subscription.cjs');

// Only `Fanfare.start` makes hubs.
const INSIDE = Symbol('inside');

const SUBSCRIBE = new Set(['since', 'replay', 'client', 'events', 'lag', 'signal']);
const RESPOND = new Set(['topics', 'since', 'replay', 'client', 'events', 'lag', 'headers', 'greeting']);
const ACCEPT = new Set([...RESPOND, 'handoff']);
const STOP = new Set(['timeout']);
const LOAD = new Set(['name', 'settings']);

class Fanfare extends EventEmitter {
  #core;
  #stopped = null;

  constructor(core, inside) {
    if (inside !== INSIDE) throw argument('a hub is made by `await Fanfare.start(options)`');
    super();
    this.#core = core;
    /** Every URL it listens on. */
    this.urls = native.urls(core.handle).split('\n').filter(Boolean);
    /** Where it listens, for a client on this machine. */
    this.url = this.urls[0] ?? '';
  }

  /** The library's version. */
  static get version() {
    return native.version;
  }

  /** Every option: `{ name, expects, default, doc, part }`. */
  static options() {
    return native.options();
  }

  /** Throws what `start` would say about each option, and starts nothing. */
  static check(options = {}) {
    const { config, authorize, ...rest } = options;
    const { file, toml } = configuration(config);
    native.check(flatten(listHandlers(rest)), file, toml, 0);
  }

  static async start(options = {}) {
    const { config, authorize, ...rest } = options;
    if (authorize !== undefined && typeof authorize !== 'function') throw argument('authorize has to be a function');
    const core = await Core.start(flatten(listHandlers(rest)), configuration(config), authorize ? ALL : 0);
    const hub = new Fanfare(core, INSIDE);
    core.onRequest = (id, detail) => decide(core, authorize, id, detail, (error) => hub.#failed(error));
    // Its listener has been open for a moment, and nobody is told again of what came in then.
    core.drain();
    return hub;
  }

  publish(topic, data, options) {
    let event, id, except, key, retry;
    for (const name in options) {
      switch (name) {
        case 'event': event = options.event; break;
        case 'id': id = options.id; break;
        case 'except': except = options.except; break;
        case 'key': key = options.key; break;
        case 'retry': retry = options.retry; break;
        default: throw argument(`publish: there is no option "${name}"; there are event, id, except, key, retry`);
      }
    }
    return native.publish(this.#handle, topic, payload(data), event, id, except, key, retry);
  }

  publishBatch(events) {
    // Most events have a topic, that of the one before, and data: the addon looks at little else. To make and look at values is what costs.
    const plain = [], places = [], more = [];
    let last = null, type = null, count = 0;
    for (const draft of events) {
      const { topic, data, event, id, except, key, retry } = draft;
      refuseUnknown(draft, EVENT, 'publishBatch');
      plain.push(topic === last ? undefined : topic ?? null, payload(data));
      last = topic ?? null;
      if (event !== undefined) {
        places.push(count);
        more.push(event === type ? undefined : event);
        type = event;
      }
      if (id !== undefined) { places.push(count + 1); more.push(id); }
      if (except !== undefined) { places.push(count + 2); more.push(except); }
      if (key !== undefined) { places.push(count + 3); more.push(key); }
      if (retry !== undefined) { places.push(count + 4); more.push(retry); }
      count += 5;
    }
    const done = native.publishBatch(this.#handle, plain, new Uint32Array(places), more);
    if (count === 0) return [];
    const ids = done.split('\n');
    // One that a handler dropped has none.
    return ids.includes('') ? ids.map((id) => id || undefined) : ids;
  }

  closeTopic(topic) {
    return native.closeTopic(this.#handle, topic);
  }

  deleteHistory(topic) {
    native.deleteHistory(this.#handle, topic);
  }

  stats() {
    return native.stats(this.#handle);
  }

  async loadHandler(topics, source, options = {}) {
    refuseUnknown(options, LOAD, 'loadHandler');
    const bytes = types.isUint8Array(source);
    if (!bytes && typeof source !== 'string' && !(source instanceof URL)) {
      throw argument('source has to be the path of a file, or its bytes in a Buffer or a Uint8Array');
    }
    const file = source instanceof URL ? fileURLToPath(source) : source;
    return native.loadHandler(this.#handle, topics, bytes ? undefined : file, bytes ? source : undefined, options.name,
      options.settings);
  }

  unloadHandler(name) {
    return native.unloadHandler(this.#handle, name);
  }

  handlers() {
    return native.handlers(this.#handle);
  }

  subscribe(topics, options = {}) {
    refuseUnknown(options, SUBSCRIBE, 'subscribe');
    this.#running();
    return new Subscription(this.#core, topics, options, (gap) => this.#tell('gap', gap));
  }

  accept(request, response, options = {}) {
    refuseUnknown(options, ACCEPT, 'accept');
    this.#running();
    return accept(this.#core, request, response, options, (name, ...values) => this.#tell(name, ...values));
  }

  response(request, options = {}) {
    refuseUnknown(options, RESPOND, 'response');
    this.#running();
    return respond(this.#core, request, options, (name, ...values) => this.#tell(name, ...values));
  }

  revoke(client) {
    native.revoke(this.#handle, client);
  }

  /** Keeps the process alive as long as the hub runs; a hub does not do that by itself. */
  ref() {
    this.#core.keep(true);
    return this;
  }

  unref() {
    this.#core.keep(false);
    return this;
  }

  stop(options = {}) {
    refuseUnknown(options, STOP, 'stop');
    this.#stopped ??= this.#core.stop(options.timeout).catch((error) => {
      // Refused before anything was done, such as for its timeout: it can be asked again.
      if (!this.#core.stopped) this.#stopped = null;
      throw error;
    });
    return this.#stopped;
  }

  async [Symbol.asyncDispose]() {
    await this.stop();
  }

  get #handle() {
    this.#running();
    return this.#core.handle;
  }

  #running() {
    if (this.#core.stopped) throw new FanfareError('the hub has been stopped', 'stopping');
  }

  /** A fault of the program's own function, which has nobody else to tell. */
  #failed(error) {
    if (this.listenerCount('error') > 0) this.#tell('error', error);
    else process.emitWarning(error instanceof Error ? error : String(error), { type: 'FanfareWarning' });
  }

  /** Emits behind the work that is under way: what a listener throws is its own, and stops nobody else. */
  #tell(name, ...values) {
    if (this.listenerCount(name) > 0) process.nextTick(() => this.emit(name, ...values));
  }
}

const EVENT = new Set(['topic', 'data', 'event', 'id', 'except', 'key', 'retry']);

module.exports = { Fanfare };
