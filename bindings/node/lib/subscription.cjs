// Reading topics in this process: `for await (const event of hub.subscribe(..))`.

'use strict';

const { OVER, READY, STOPPED } = require('./core.cjs');
const { FanfareError } = require('./errors.cjs');
const native = require('./native.cjs');
const { readerArguments } = require('./reader.cjs');

/** Values of one item in the array of a pull. */
const ITEM = 6;
/** Reasons of an end that are no failure: everything has been read, or the hub has stopped. */
const ORDERLY = new Set(['ok', 'topic_closed', 'stopping']);

/** The code of calls to what is over. */
const LEFT = 'stale_handle';

/** What a topic published, or a notice of what is missing. */
class FanfareEvent {
  constructor(topic, id, event, data, position) {
    this.topic = topic;
    this.id = id;
    this.event = event;
    this.data = data;
    this.position = position;
  }

  /** The data, read as JSON. */
  json() {
    return JSON.parse(this.data);
  }

  /** Of a gap notice (`event` is `fanfare.gap`) what is missing: `{ requested, oldest, newest }`; null of any other event. */
  get gap() {
    return this.event === 'fanfare.gap' ? JSON.parse(this.data) : null;
  }
}

class Subscription {
  #core;
  #user;
  #id;
  /** What the last pull gave, and how much of it has been taken. */
  #items = [];
  #next = 0;
  /** Calls of `next` that have no answer yet. */
  #waiters = [];
  #over = false;
  #ended = null;
  /** Why reading has failed; thrown once. */
  #failure = null;
  #onGap;
  #signal = null;
  #onAbort = null;

  constructor(core, topics, options, onGap) {
    options.signal?.throwIfAborted();
    this.#core = core;
    this.#onGap = onGap;
    this.#user = core.nextUser();
    this.#id = native.subscribe(core.handle, ...readerArguments(topics, options, this.#user));
    const { signal } = options;
    const onAbort = signal ? this.#listen(signal) : null;
    core.enter(this.#user, this.#id, this, (handle, id) => {
      native.unsubscribe(handle, id);
      signal?.removeEventListener('abort', onAbort);
    });
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    if (this.#waiters.length === 0) {
      const value = this.#take();
      if (value !== null) return Promise.resolve({ value, done: false });
      if (this.#over) return this.#last();
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#core.wait(this.#user, this);
    });
  }

  /** Ends the subscription; what has been pulled and not been read is dropped. */
  return(value) {
    this.#items = [];
    this.#end(null);
    return Promise.resolve({ value, done: true });
  }

  throw(error) {
    this.return();
    return Promise.reject(error);
  }

  async [Symbol.asyncDispose]() {
    await this.return();
  }

  /** Why it is over: `topic_closed`, `lapped`, `stopping`, or `stale_handle` when it was left; null while it is not. */
  get ended() {
    return this.#ended;
  }

  /** Reads one more topic from now on. False if it is read already. */
  add(topic) {
    this.#open();
    return native.addTopic(this.#core.handle, this.#id, topic);
  }

  /** Reads a topic no more. False if it was not read. Events of it that have been pulled already still come. */
  remove(topic) {
    this.#open();
    return native.removeTopic(this.#core.handle, this.#id, topic);
  }

  /** The queue says that there is something to pull. */
  [READY]() {
    while (this.#waiters.length > 0) {
      const value = this.#take();
      if (value === null) break;
      this.#waiters.shift().resolve({ value, done: false });
    }
    if (this.#over) this.#settle();
    else if (this.#waiters.length === 0) this.#core.rest(this.#user);
  }

  [STOPPED]() {
    this[READY]();
  }

  /** The library has ended it. What has been pulled is still to be read. */
  [OVER](reason) {
    this.#end(reason);
  }

  #open() {
    if (this.#over) throw new FanfareError(`this subscription is over: ${this.#ended}`, LEFT);
  }

  /** The next event; null when there is none now, or none ever. */
  #take() {
    for (;;) {
      const items = this.#items;
      const at = this.#next;
      if (at < items.length) {
        this.#next = at + ITEM;
        switch (items[at]) {
          case native.EVENT:
            return new FanfareEvent(items[at + 1], items[at + 2], items[at + 3], items[at + 4], items[at + 5]);
          case native.GAP: {
            const gap = new FanfareEvent(items[at + 1], items[at + 2], items[at + 3], items[at + 4], items[at + 5]);
            this.#onGap(gap);
            return gap;
          }
          case native.END:
            this.#end(items[at + 1]);
            break;
          default:
            // A kind of a later library.
        }
        continue;
      }
      if (this.#over) return null;
      const pulled = native.pull(this.#core.handle, this.#id);
      this.#next = 0;
      if (pulled === null) {
        this.#items = [];
        // Nobody would wake us.
        if (this.#core.stopped) this.#end('stopping');
        return null;
      }
      this.#items = pulled;
    }
  }

  /** Ends it once. `reason` is the library's, an error, or null when we end it ourselves. */
  #end(reason) {
    if (this.#over) return;
    this.#over = true;
    this.#ended = typeof reason === 'string' && reason !== 'ok' ? reason : LEFT;
    if (typeof reason !== 'string' && this.#core.handle !== null) native.unsubscribe(this.#core.handle, this.#id);
    if (typeof reason === 'string' && !ORDERLY.has(reason)) {
      this.#failure = new FanfareError(`the subscription ended: ${reason}`, reason);
    } else if (reason instanceof Error || (reason !== null && typeof reason === 'object')) {
      this.#failure = reason;
    }
    if (this.#signal) this.#signal.removeEventListener('abort', this.#onAbort);
    this.#signal = null;
    this.#settle();
    this.#core.leave(this.#user, this);
  }

  /** Answers everybody who waits for something that will not come. */
  #settle() {
    for (const { resolve, reject } of this.#waiters.splice(0)) this.#last().then(resolve, reject);
  }

  #last() {
    const failure = this.#failure;
    this.#failure = null;
    return failure ? Promise.reject(failure) : Promise.resolve({ value: undefined, done: true });
  }

  #listen(signal) {
    // Weak: a signal that lives long must not keep what nobody reads.
    const weak = new WeakRef(this);
    this.#signal = signal;
    this.#onAbort = () => weak.deref()?.#abort(signal.reason);
    signal.addEventListener('abort', this.#onAbort, { once: true });
    return this.#onAbort;
  }

  #abort(reason) {
    this.#items = [];
    this.#end(reason instanceof Error ? reason : Object.assign(new Error('aborted', { cause: reason }), { name: 'AbortError' }));
  }
}

module.exports = { FanfareEvent, Subscription };
