// A subscription that stays: fetch() reads the stream, a lost connection is resumed.
//
// EventSource would need one listener for each event type; here every type is seen. The rest is
// EventSource's behaviour: `Last-Event-ID` after the first id, the stream's own `retry:` as the pause,
// 204 and a refused request are final, anything else is tried again with a growing, jittered pause.
// One instance is one subscription; `stop()` is final and nothing is reported after it.

import { query } from './address.js';
import { refusal } from './format.js';
import { Parser, isStream } from './sse.js';

const FIRST_PAUSE_MS = 1000;
/** Also for a stream that says `retry: 0`: a hub that closes at once must not be asked in a loop. */
const SHORTEST_PAUSE_MS = 200;
/** Growth ends here. */
const LONGEST_PAUSE_MS = 30_000;
/** What a stream may ask for at most, one day; timers overflow at 24.8. */
const LONGEST_RETRY_MS = 86_400_000;

/** States reported to `onState(state, detail)`: connecting, live, waiting, ended, refused. */
export class Stream {
  #options;
  #lastEventId = '';
  #pause = FIRST_PAUSE_MS;
  #failures = 0;
  #abort;
  #timer;
  #stopped = false;

  /** `options`: topics, replay, lag, onEvent({type,data,id}), onState(state, detail). */
  constructor(options) {
    this.#options = options;
    this.#connect();
  }

  /** Ends the subscription for good. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }

  /** Tries now instead of at the end of the pause. */
  hurry() {
    if (this.#timer === undefined || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /**
   * Gives the present connection up and connects anew. For a hub that is known not to answer while the
   * connection still looks open (paused process, cut network): resuming costs nothing and loses nothing.
   */
  renew() {
    if (this.#timer === undefined) this.#abort?.abort();
  }

  async #connect() {
    this.#timer = undefined;
    this.#abort = new AbortController();
    const { topics, replay, lag, onState } = this.#options;
    onState('connecting', { resuming: this.#lastEventId });
    const url = `/events${query([...topics.map((topic) => ['topic', topic]), ['replay', replay], ['lag', lag]])}`;
    const headers = { Accept: 'text/event-stream' };
    if (this.#lastEventId !== '') headers['Last-Event-ID'] = this.#lastEventId;
    try {
      const response = await fetch(url, { headers, cache: 'no-store', signal: this.#abort.signal });
      if (this.#stopped) return;
      if (response.status === 204) return onState('ended', {});
      if (response.ok && isStream(response.headers.get('Content-Type'))) {
        onState('live', { resumed: this.#lastEventId });
        await this.#read(response.body);
      } else {
        const error = await refusal(response);
        if (this.#stopped) return;
        if (response.status < 500 && response.status !== 429) return onState('refused', error);
        const after = Number(response.headers.get('Retry-After'));
        return this.#again(error.text, Number.isFinite(after) ? after * 1000 : 0);
      }
      this.#again('The stream ended', 0);
    } catch {
      this.#again('The connection was lost', 0);
    }
  }

  async #read(body) {
    const parser = new Parser(this.#lastEventId);
    const decoder = new TextDecoder();
    const reader = body.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (this.#stopped || done) return;
        // Bytes have come, so this is a hub that answers: pauses start small again.
        this.#failures = 0;
        parser.feed(decoder.decode(value, { stream: true }), this.#options.onEvent);
        if (this.#stopped) return;
        this.#pause = Math.min(Math.max(parser.retry ?? this.#pause, SHORTEST_PAUSE_MS), LONGEST_RETRY_MS);
        this.#lastEventId = parser.lastEventId;
      }
    } finally {
      // Also when the connection breaks between two chunks, nothing already dispatched is asked for again.
      this.#lastEventId = parser.lastEventId;
    }
  }

  #again(reason, atLeast) {
    if (this.#stopped) return;
    const grown = Math.min(this.#pause * 2 ** this.#failures, Math.max(LONGEST_PAUSE_MS, this.#pause));
    const pause = Math.max(atLeast, grown * (0.8 + Math.random() * 0.4));
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#options.onState('waiting', { reason, pause, lastEventId: this.#lastEventId });
  }
}
