// Polls /stats and turns counters into rates.
//
// Promise: `Connected` is said only after an answer, `Reconnecting…` from the first failure on, and
// `Disconnected` once the hub has been away for ten seconds (tries go on, ever rarer). While the page
// is hidden nothing is asked. A rate needs two answers of the same hub close to each other: after a
// pause or a restart (another epoch) the first answer is only a new baseline.

const INTERVAL_MS = 1000;
const TIMEOUT_MS = 5000;
const AWAY_MS = 10_000;
const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 15_000];
/** Longer apart than this, two answers give no rate: the value would hide the pause. */
const LONGEST_STEP_MS = 6000;
/** Rates of topics and handlers are averages over this many steps, so that a slow topic does not flicker. */
const TOPIC_STEPS = 5;

export class StatsPoller {
  #onSample;
  #onState;
  #answers = [];
  #failures = 0;
  #failedSince;
  #nextTry;
  #timer;
  #asking = false;
  #reason = '';
  #everAnswered = false;

  /** `onSample(stats, rates)` for each answer; `onState(state, detail)` whenever it may have changed. */
  constructor({ onSample, onState }) {
    this.#onSample = onSample;
    this.#onState = onState;
    document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(this.#timer) : this.now()));
    setInterval(() => this.#tell(), 1000);
    this.now();
  }

  /** Asks at once. */
  now() {
    clearTimeout(this.#timer);
    if (!this.#asking && !document.hidden) this.#ask();
  }

  async #ask() {
    this.#asking = true;
    const began = performance.now();
    let pause;
    try {
      const response = await fetch('/stats', { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok) throw new Error(`The hub answered with status ${response.status}.`);
      const stats = await response.json();
      this.#failures = 0;
      this.#failedSince = undefined;
      this.#everAnswered = true;
      this.#take(stats);
      pause = Math.max(100, INTERVAL_MS - (performance.now() - began));
    } catch (error) {
      this.#failedSince ??= began;
      this.#reason = /status/.test(error.message) ? error.message : 'The hub does not answer.';
      pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)];
      this.#failures += 1;
    }
    this.#asking = false;
    this.#nextTry = performance.now() + pause;
    this.#tell();
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.#ask(), pause);
  }

  #tell() {
    const now = performance.now();
    if (this.#failedSince === undefined) {
      return this.#onState(this.#everAnswered ? 'connected' : 'connecting', {});
    }
    const away = now - this.#failedSince;
    this.#onState(away < AWAY_MS ? 'reconnecting' : 'disconnected', {
      away,
      reason: this.#reason,
      wait: this.#asking ? 0 : Math.max(0, this.#nextTry - now),
    });
  }

  #take(stats) {
    const published = new Map(stats.topics.list.map((topic) => [topic.name, topic.published]));
    const handlers = new Map(stats.handlers.map((handler) => [handler.name, handler]));
    const answer = { stats, published, handlers };
    const last = this.#answers.at(-1);
    const step = last === undefined ? 0 : stats.uptime_ms - last.stats.uptime_ms;
    const continues = last !== undefined && stats.epoch === last.stats.epoch && step > 0 && step <= LONGEST_STEP_MS;
    if (!continues) this.#answers = [];
    this.#answers.push(answer);
    if (this.#answers.length > TOPIC_STEPS + 1) this.#answers.shift();
    this.#onSample(stats, this.#rates(continues ? last : undefined, answer));
  }

  #rates(last, answer) {
    if (last === undefined) {
      return { published: null, delivered: null, topic: () => null, handler: () => ({ rate: null, micros: null }) };
    }
    const perSecond = (now, before, span) => Math.max(0, ((now - before) * 1000) / span);
    const span = answer.stats.uptime_ms - last.stats.uptime_ms;
    const oldest = this.#answers[0];
    const longSpan = answer.stats.uptime_ms - oldest.stats.uptime_ms;
    // Absent from an earlier list that was complete, a topic did not exist: its count was zero.
    const complete = oldest.stats.topics.count <= oldest.stats.topics.list.length;
    return {
      published: perSecond(answer.stats.events.published, last.stats.events.published, span),
      delivered: perSecond(answer.stats.deliveries.frames, last.stats.deliveries.frames, span),
      topic: (name) => {
        const before = oldest.published.get(name) ?? (complete ? 0 : undefined);
        return before === undefined ? null : perSecond(answer.published.get(name), before, longSpan);
      },
      // The time is the mean of the calls since then; without any there is nothing to tell of them.
      handler: (name) => {
        const now = answer.handlers.get(name);
        const before = oldest.handlers.get(name) ?? { calls: 0, time_us: 0 };
        const calls = (now.calls ?? 0) - (before.calls ?? 0);
        return {
          rate: perSecond(calls, 0, longSpan),
          micros: calls > 0 ? (now.time_us - before.time_us) / calls : null,
        };
      },
    };
  }
}
