// The live event list: what has arrived, newest at the bottom, at most 500 rows.
//
// Events are collected and drawn in batches of at most ten a second, so that a fast stream costs a
// bounded amount of work; what does not fit in the list any more is never drawn. Data enters the
// page as text only. A screen reader hears a short summary at most every five seconds.

import { byId, element, setText } from './dom.js';
import { clock, count, plural } from './format.js';

const MOST_ROWS = 500;
const BATCH_MS = 100;
const ANNOUNCE_MS = 5000;
/** Characters shown of one event before “Show all”. */
const SHOWN_CHARS = 4000;
/** Characters kept of one event; the hub may allow far larger ones. */
const KEPT_CHARS = 262_144;
const HUES = 6;

export class EventList {
  #list = byId('events');
  #scroll = byId('events-scroll');
  #jump = byId('events-jump');
  #pause = byId('events-pause');
  #pending = [];
  #received = 0;
  #waiting = 0;
  #paused = false;
  #following = true;
  #drawn = 0;
  #timer;
  #announced = { at: 0, received: 0 };
  #announceTimer;

  constructor() {
    this.#scroll.addEventListener('scroll', () => {
      this.#following = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < 24;
      this.#jump.hidden = this.#following;
    }, { passive: true });
    this.#jump.addEventListener('click', () => {
      this.#follow();
      this.#scroll.focus({ preventScroll: true });
    });
    this.#pause.addEventListener('click', () => this.#setPaused(!this.#paused));
    byId('events-clear').addEventListener('click', () => this.clear());
  }

  /** An event from the stream. */
  push(event) {
    this.#received += 1;
    this.#collect({ kind: event.type === 'fanfare.gap' ? 'gap' : 'event', at: new Date(), ...event });
  }

  /** A remark of the console itself about the connection. */
  note(text) {
    this.#collect({ kind: 'note', at: new Date(), data: text });
  }

  /** Forgets everything shown and waiting. */
  clear() {
    this.#pending = [];
    this.#received = 0;
    this.#waiting = 0;
    this.#announced.received = 0;
    this.#list.replaceChildren();
    this.#jump.hidden = true;
    this.#following = true;
    this.#count();
  }

  /** What the empty list says; nodes. */
  explain(...nodes) {
    byId('events-empty').replaceChildren(...nodes);
  }

  #collect(item) {
    this.#pending.push(item);
    if (item.kind !== 'note') this.#waiting += 1;
    if (this.#pending.length > MOST_ROWS * 2) this.#pending.splice(0, this.#pending.length - MOST_ROWS);
    this.#timer ??= setTimeout(() => this.#flush(), Math.max(0, this.#drawn + BATCH_MS - performance.now()));
  }

  #flush() {
    this.#timer = undefined;
    this.#drawn = performance.now();
    if (!this.#paused && this.#pending.length > 0) {
      const batch = document.createDocumentFragment();
      for (const item of this.#pending.slice(-MOST_ROWS)) batch.append(row(item));
      this.#pending = [];
      this.#waiting = 0;
      const surplus = this.#list.childElementCount + batch.childElementCount - MOST_ROWS;
      if (surplus >= this.#list.childElementCount) this.#list.replaceChildren();
      else for (let left = surplus; left > 0; left -= 1) this.#list.firstElementChild.remove();
      this.#list.append(batch);
      if (this.#following) this.#follow();
    }
    this.#count();
    this.#announce();
  }

  #follow() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#following = true;
    this.#jump.hidden = true;
  }

  #setPaused(paused) {
    this.#paused = paused;
    this.#pause.setAttribute('aria-pressed', String(paused));
    this.#flush();
  }

  #count() {
    setText(byId('events-count'), this.#received === 0 ? '' : count(this.#received));
    setText(this.#pause, this.#paused ? 'Resume' : 'Pause');
    setText(byId('events-note'), this.#paused ? `Paused, ${plural(this.#waiting, 'event')} waiting.`
      : this.#received > MOST_ROWS ? `The newest ${MOST_ROWS} of ${count(this.#received)} are shown.` : `The newest ${MOST_ROWS} are kept.`);
    byId('events-empty').hidden = this.#list.childElementCount > 0;
  }

  #announce() {
    const fresh = this.#received - this.#announced.received;
    if (fresh <= 0 || this.#announceTimer !== undefined) return;
    const wait = Math.max(0, this.#announced.at + ANNOUNCE_MS - performance.now());
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = undefined;
      const arrived = this.#received - this.#announced.received;
      this.#announced = { at: performance.now(), received: this.#received };
      if (arrived > 0) byId('events-announce').textContent = `${plural(arrived, 'event')} received.`;
    }, wait);
  }
}

/** One list item. */
function row(item) {
  const time = element('time', { textContent: clock(item.at), dateTime: item.at.toISOString() });
  if (item.kind === 'note') {
    return element('li', { className: 'note' }, time, element('span', { className: 'data', textContent: item.data }));
  }
  const id = element('span', { className: 'id', textContent: item.id, title: item.id === '' ? '' : `id ${item.id}` });
  if (item.kind === 'gap') {
    const type = element('span', { className: 'type', textContent: 'gap', title: item.type });
    return element('li', { className: 'gap' }, time, type, element('span', { className: 'data', textContent: gapText(item.data) }), id);
  }
  const type = element('span', { className: `type hue-${hue(item.type)}`, textContent: item.type, title: item.type });
  return element('li', { className: 'event' }, time, type, dataNode(item.data), id);
}

/** The data of an event, cut to a readable length with a way to see the rest. */
function dataNode(data) {
  const text = element('pre', { className: 'data', textContent: data.slice(0, SHOWN_CHARS) });
  if (data.length <= SHOWN_CHARS) return text;
  const kept = data.slice(0, KEPT_CHARS);
  const more = element('button', { type: 'button', className: 'small', textContent: `Show all ${count(data.length)} characters` });
  if (kept.length < data.length) more.textContent = `Show the first ${count(kept.length)} of ${count(data.length)} characters`;
  more.addEventListener('click', () => {
    text.textContent = kept;
    more.remove();
  });
  return element('div', { className: 'data-box' }, text, more);
}

/** A gap notice as a sentence; its data is `{"requested","oldest","newest"}`, each a string or null. */
function gapText(data) {
  let gap;
  try {
    gap = JSON.parse(data);
  } catch {
    return `Events were missed: ${data}`;
  }
  const after = gap?.requested ? ` after ${gap.requested}` : '';
  const held = gap?.oldest ? `holds ${gap.oldest} to ${gap.newest ?? 'now'}` : 'holds nothing older';
  return `Events${after} may be missing here: the hub cannot continue from there, it ${held}.`;
}

/** A stable colour class for an event type; plain messages stay neutral. */
function hue(type) {
  if (type === 'message') return 'none';
  let sum = 7;
  for (const char of type) sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  return sum % HUES;
}
