// One running hub: its handle, its queue, and who reads from it.
//
// The queue says which reader has something; the reader then pulls, when its own consumer asks. So nothing waits in
// JavaScript but what one pull gave, and a slow consumer falls behind in the hub's history, whose bounds and lag policy are
// the hub's. A reader that nobody can reach any more is ended by its finalizer; one that somebody waits for is held here.

'use strict';

const native = require('./native.cjs');

/** Hubs that have not stopped, for the end of the process. */
const running = new Set();

// A thread of the library must not wake a loop that is being taken down.
process.on('exit', () => {
  for (const core of running) native.detach(core.handle);
});

/** What every reader answers to: there is something to pull; it is over. */
const READY = Symbol('ready');
const OVER = Symbol('over');
/** The hub has stopped: no wake-up comes any more. */
const STOPPED = Symbol('stopped');

class Core {
  /** The addon's hub; null when it has been freed. */
  handle = null;
  /** It takes nothing more; what it has can be read until `handle` is null. */
  stopped = false;
  /** Called with an item of a request to the hub's own listener. */
  onRequest = null;
  /** Readers by number: `{ id, weak, strong }`. */
  #readers = new Map();
  #lastUser = 0;
  /** How many wait for something. */
  #waiting = 0;
  /** `Fanfare.ref` has been called. */
  #kept = false;
  #forgotten = new FinalizationRegistry((user) => this.#abandon(user));

  /** Starts a hub. */
  static async start(pairs, { file, toml }, actions) {
    const core = new Core();
    core.handle = await native.start(pairs, file, toml, actions, () => core.drain());
    running.add(core);
    return core;
  }

  /** A number for the next reader. */
  nextUser() {
    this.#lastUser += 1;
    return this.#lastUser;
  }

  /**
   * Enters a reader under its number. It has `[READY]()`, `[OVER](reason)` and, if it is held weakly, a way to end what the library holds for
   * it when it is garbage: `close`, a function of its id.
   */
  enter(user, id, reader, close) {
    if (close) {
      this.#readers.set(user, { id, close, weak: new WeakRef(reader), strong: null });
      this.#forgotten.register(reader, user, reader);
    } else {
      this.#readers.set(user, { id, close: null, weak: null, strong: reader });
    }
  }

  /** Forgets a reader. */
  leave(user, reader) {
    const entry = this.#readers.get(user);
    if (!entry) return;
    this.#readers.delete(user);
    if (entry.close) this.#forgotten.unregister(reader);
    if (entry.close && entry.strong) this.#hold(-1);
    this.#settle();
  }

  /** Somebody waits for this reader: it stays, and so does the process. */
  wait(user, reader) {
    const entry = this.#readers.get(user);
    if (!entry || entry.strong) return;
    entry.strong = reader;
    this.#hold(1);
  }

  /** Nobody waits for it any more. */
  rest(user) {
    const entry = this.#readers.get(user);
    if (!entry?.close || !entry.strong) return;
    entry.strong = null;
    this.#hold(-1);
  }

  /** Whether the hub alone keeps the process alive. */
  keep(yes) {
    this.#kept = yes;
    this.#hold(0);
  }

  #hold(change) {
    this.#waiting += change;
    if (this.handle !== null) native.hold(this.handle, this.#kept || this.#waiting > 0);
  }

  #abandon(user) {
    const entry = this.#readers.get(user);
    if (!entry) return;
    this.#readers.delete(user);
    if (this.handle !== null) entry.close(this.handle, entry.id);
    this.#settle();
  }

  /** Looks at everything in the queue. */
  drain() {
    if (this.handle === null) return;
    const more = native.drain(this.handle, (kind, user, handle, detail) => this.#visit(kind, user, handle, detail));
    // Others had their turn first: a busy publisher must not keep the loop.
    if (more) setImmediate(() => this.drain());
  }

  #visit(kind, user, handle, detail) {
    if (kind === native.REQUEST) {
      this.onRequest?.(handle, detail);
      return;
    }
    const entry = this.#readers.get(user);
    const reader = entry && (entry.strong ?? entry.weak?.deref());
    if (!reader) return;
    if (kind === native.READY) reader[READY]();
    else if (kind === native.END) reader[OVER](detail);
  }

  /** Stops the hub. What was published before can still be read: it is freed when the last reader is over. */
  async stop(timeout) {
    const report = await native.stop(this.handle, timeout);
    this.stopped = true;
    this.keep(false);
    try {
      while (native.drain(this.handle, (...item) => this.#visit(...item)));
      for (const entry of [...this.#readers.values()]) (entry.strong ?? entry.weak.deref())?.[STOPPED]();
    } finally {
      this.#settle();
    }
    return report;
  }

  #settle() {
    if (!this.stopped || this.#readers.size > 0 || this.handle === null) return;
    running.delete(this);
    native.release(this.handle);
    this.handle = null;
  }
}

module.exports = { Core, OVER, READY, STOPPED };
