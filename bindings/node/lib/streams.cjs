// Streams of browsers that this process has let in: on a socket that was handed over, or written by the host.

'use strict';

const { OVER, READY, STOPPED } = require('./core.cjs');
const native = require('./native.cjs');
const { readerArguments } = require('./reader.cjs');

/** Values of one item in the array of a pull. */
const ITEM = 6;
/** The library's name for an end without a fault: the reader left, or was sent away. */
const ORDERLY = 'ok';

/** What `connect` and `disconnect` tell of, and what `accept` returns. */
class Stream {
  #end;

  constructor({ topics, client }, handedOff, end) {
    this.topics = typeof topics === 'string' ? [topics] : [...topics];
    this.client = client ?? null;
    this.handedOff = handedOff;
    this.closed = false;
    this.#end = end;
  }

  /** Ends the stream, at a boundary between events. Its reader comes back by itself: refuse it then. */
  close() {
    if (!this.closed) this.#end();
  }
}

/** A socket in the hub's lanes. Throws what the library refuses; the socket is then untouched. */
class HandedOver {
  #core;
  #user;
  #tell;

  constructor(core, options, { fd, headers, http10 }, tell) {
    this.#core = core;
    this.#tell = tell;
    this.#user = core.nextUser();
    const id = native.adopt(core.handle, ...readerArguments(options.topics, options, this.#user), fd, headers, http10);
    this.stream = new Stream(options, true, () => core.handle !== null && native.closeStream(core.handle, id));
    core.enter(this.#user, id, this);
    tell('connect', this.stream);
  }

  [READY]() {}

  [STOPPED]() {
    this[OVER]('stopping');
  }

  [OVER](reason) {
    this.#core.leave(this.#user, this);
    this.stream.closed = true;
    this.#tell('disconnect', this.stream, reason);
  }
}

/**
 * A stream whose bytes the host writes. `sink.write(bytes)` returns false when it has enough for now; `resume` goes on. What is
 * not taken stays in the hub's history. `sink.end()` is called once, unless the host has closed it itself.
 */
class Written {
  #core;
  #user;
  #id;
  #sink;
  #tell;
  #blocked;
  #over = false;

  constructor(core, options, sink, tell, { weak }) {
    this.#core = core;
    this.#sink = sink;
    this.#tell = tell;
    this.#blocked = weak;
    this.#user = core.nextUser();
    this.#id = native.openStream(core.handle, ...readerArguments(options.topics, options, this.#user));
    this.stream = new Stream(options, false, () => this.#finish(ORDERLY, true));
    core.enter(this.#user, this.#id, this, weak ? native.closeStream : undefined);
    tell('connect', this.stream);
  }

  /** Somebody waits for bytes: it stays, and so does the process. Or nobody does any more. */
  wait(yes) {
    if (yes) this.#core.wait(this.#user, this);
    else this.#core.rest(this.#user);
  }

  [READY]() {
    this.#pump();
  }

  [STOPPED]() {
    this.#pump();
  }

  [OVER](reason) {
    this.#finish(reason, true);
  }

  /** The sink takes more. */
  resume() {
    this.#blocked = false;
    this.#pump();
  }

  /** The client is gone. */
  gone() {
    this.#finish(ORDERLY, false);
  }

  #pump() {
    while (!this.#over && !this.#blocked) {
      const items = native.pull(this.#core.handle, this.#id);
      if (items === null) {
        // Nobody would wake us.
        if (this.#core.stopped) this.#finish('stopping', true);
        return;
      }
      for (let at = 0; at < items.length && !this.#over; at += ITEM) {
        if (items[at] === native.BYTES) {
          if (!this.#sink.write(items[at + 1])) this.#blocked = true;
        } else if (items[at] === native.END) {
          this.#finish(items[at + 1], true);
        }
      }
    }
  }

  #finish(reason, end) {
    if (this.#over) return;
    this.#over = true;
    // One that the library has ended is over there already, which is fine.
    if (this.#core.handle !== null) native.closeStream(this.#core.handle, this.#id);
    this.#core.leave(this.#user, this);
    this.stream.closed = true;
    if (end) this.#sink.end();
    this.#tell('disconnect', this.stream, reason);
  }
}

module.exports = { HandedOver, Written };
