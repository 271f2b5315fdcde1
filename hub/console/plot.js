// Deliveries per second over the last two minutes, as two SVG paths stretched over the card.
//
// Strokes do not scale with the viewBox (vector-effect in the style sheet), so lines are crisp on
// every display. Seconds without an answer from the hub are drawn as a hole, not as zero. The
// visible summary under the title is the text alternative.

import { byId, setText } from './dom.js';
import { rate } from './format.js';

const WINDOW_MS = 120_000;
const WIDTH = 1200;
const TOP = 1;
const BOTTOM = 99;
/** Samples further apart than this are not joined. */
const JOIN_MS = 2600;

/** The next of 1, 2, 5, 10, 20, … that is at least `value`, and never below 10. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10;
}

export class Plot {
  #samples = [];
  #scale = 10;
  #pointer;
  #area = byId('plot-area');
  #line = byId('plot-line');
  #fill = byId('plot-fill');
  #cursor = byId('plot-cursor');
  #summary = byId('plot-summary');

  constructor() {
    this.#area.addEventListener('pointermove', (event) => {
      const box = byId('plot').getBoundingClientRect();
      this.#pointer = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      this.draw();
    });
    this.#area.addEventListener('pointerleave', () => {
      this.#pointer = undefined;
      this.draw();
    });
    // Keeps moving while the hub is away: the hole is part of the truth.
    setInterval(() => this.draw(), 1000);
  }

  /** Adds the value measured just now; null says the measurement starts anew. */
  add(value) {
    this.#samples.push({ at: performance.now(), value });
    this.draw();
  }

  draw() {
    if (document.hidden) return;
    const now = performance.now();
    const from = now - WINDOW_MS;
    while (this.#samples.length > 0 && this.#samples[0].at < from - JOIN_MS) this.#samples.shift();
    const known = this.#samples.filter((sample) => sample.value !== null);
    const peak = known.reduce((most, sample) => Math.max(most, sample.value), 0);
    this.#scale = ceiling(peak);
    setText(byId('plot-max'), rate(this.#scale));
    setText(byId('plot-mid'), rate(this.#scale / 2));
    const point = ({ at, value }) => ({
      x: (((at - from) / WINDOW_MS) * WIDTH).toFixed(1),
      y: (BOTTOM - (value / this.#scale) * (BOTTOM - TOP)).toFixed(2),
    });
    const runs = this.#runs();
    const lines = runs.map((run) => `M${run.map((sample) => { const { x, y } = point(sample); return `${x} ${y}`; }).join('L')}`);
    const fills = runs.map((run, index) => `${lines[index]}L${point(run.at(-1)).x} ${BOTTOM}L${point(run[0]).x} ${BOTTOM}Z`);
    this.#line.setAttribute('d', lines.join(''));
    this.#fill.setAttribute('d', fills.join(''));
    this.#describe(known, peak, from, now, point);
  }

  /** The samples in unbroken runs. */
  #runs() {
    const runs = [];
    let previous;
    for (const sample of this.#samples) {
      if (sample.value !== null) {
        const joins = previous !== undefined && sample.at - previous.at <= JOIN_MS;
        if (joins) runs.at(-1).push(sample);
        else runs.push([sample]);
      }
      previous = sample.value === null ? undefined : sample;
    }
    return runs;
  }

  #describe(known, peak, from, now, point) {
    const at = this.#pointer === undefined ? undefined : from + this.#pointer * WINDOW_MS;
    const near = at === undefined ? undefined : known.reduce((best, sample) => (
      best === undefined || Math.abs(sample.at - at) < Math.abs(best.at - at) ? sample : best), undefined);
    if (near !== undefined && Math.abs(near.at - at) <= JOIN_MS) {
      this.#cursor.setAttribute('d', `M${point(near).x} ${TOP}V${BOTTOM}`);
      const ago = Math.round((now - near.at) / 1000);
      setText(this.#summary, `${rate(near.value)} per second, ${ago === 0 ? 'now' : `${ago} s ago`}`);
      return;
    }
    this.#cursor.removeAttribute('d');
    const last = this.#samples.at(-1);
    const fresh = last !== undefined && last.value !== null && now - last.at <= JOIN_MS;
    if (known.length === 0) return setText(this.#summary, 'Collecting the first samples…');
    const mean = known.reduce((sum, sample) => sum + sample.value, 0) / known.length;
    setText(this.#summary, `now ${fresh ? rate(last.value) : '–'} · peak ${rate(peak)} · mean ${rate(mean)}`);
  }
}
