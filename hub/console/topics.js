// The live topic table. Rows are kept and updated in place, so focus, selection and hover survive
// every refresh; while someone points at a row or has it focused, rows do not change places.

import { byId, element, setText } from './dom.js';
import { count, rate } from './format.js';

/** Columns that read best with their largest value first. */
const DESCENDING_FIRST = new Set(['published', 'rate', 'subscribers', 'events']);

export class TopicTable {
  #body = byId('topics').tBodies[0];
  #filter = byId('topics-filter');
  #rows = new Map();
  #topics = [];
  #total = 0;
  #followed = new Set();
  #sort = { key: 'name', descending: false };
  #onChoose;
  #emptyHint;

  /** `onChoose(name, add)`: a row was chosen, `add` with Shift, Ctrl or Cmd; `emptyHint()` gives the teaching nodes. */
  constructor({ onChoose, emptyHint }) {
    this.#onChoose = onChoose;
    this.#emptyHint = emptyHint;
    this.#filter.addEventListener('input', () => this.#draw(true));
    for (const button of byId('topics').tHead.querySelectorAll('button')) {
      button.addEventListener('click', () => this.#sortBy(button.dataset.sort));
    }
    this.#body.addEventListener('click', (event) => {
      const row = event.target.closest('tr');
      if (row) this.#onChoose(row.dataset.topic, event.shiftKey || event.ctrlKey || event.metaKey);
    });
    this.#markSort();
  }

  /** Marks the topics that the live list follows. */
  follow(topics) {
    this.#followed = new Set(topics);
    for (const [name, row] of this.#rows) this.#markFollowed(name, row);
  }

  /** Takes a new answer of the hub. */
  update(topics, rates) {
    this.#total = topics.count;
    this.#topics = topics.list.map((topic) => ({ ...topic, rate: rates.topic(topic.name) }));
    this.#draw(false);
  }

  #sortBy(key) {
    const same = this.#sort.key === key;
    this.#sort = { key, descending: same ? !this.#sort.descending : DESCENDING_FIRST.has(key) };
    this.#markSort();
    this.#draw(true);
  }

  #markSort() {
    for (const button of byId('topics').tHead.querySelectorAll('button')) {
      const active = button.dataset.sort === this.#sort.key;
      const heading = button.closest('th');
      if (active) heading.setAttribute('aria-sort', this.#sort.descending ? 'descending' : 'ascending');
      else heading.removeAttribute('aria-sort');
    }
  }

  #shown() {
    const wanted = this.#filter.value.toLowerCase();
    const { key, descending } = this.#sort;
    const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
    const compare = key === 'name' ? byName : (a, b) => (a[key] ?? -1) - (b[key] ?? -1) || byName(b, a);
    const shown = this.#topics.filter((topic) => topic.name.toLowerCase().includes(wanted)).sort(compare);
    return descending ? shown.reverse() : shown;
  }

  #draw(asked) {
    const shown = this.#shown();
    const names = new Set(shown.map((topic) => topic.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    const held = !asked && (this.#body.matches(':hover') || this.#body.querySelector(':focus-visible') !== null);
    shown.forEach((topic, index) => {
      const row = this.#rows.get(topic.name) ?? this.#add(topic.name);
      this.#fill(row, topic);
      const there = this.#body.rows[index];
      if (there !== row && (!held || row.parentNode === null)) this.#body.insertBefore(row, there ?? null);
    });
    this.#explain(shown.length);
  }

  #add(name) {
    const button = element('button', { type: 'button', textContent: name, title: name });
    const cell = (className) => element('td', { className });
    const row = element('tr', {}, element('th', { scope: 'row', className: 'name' }, button),
      cell('num rate'), cell('num'), cell('num'), cell('num'), cell('id'), cell('id'));
    row.dataset.topic = name;
    this.#rows.set(name, row);
    this.#markFollowed(name, row);
    return row;
  }

  #markFollowed(name, row) {
    const followed = this.#followed.has(name);
    row.classList.toggle('followed', followed);
    row.querySelector('button').setAttribute('aria-label', `${name}: ${followed ? 'following' : 'follow'}`);
  }

  #fill(row, topic) {
    const texts = [rate(topic.rate), count(topic.subscribers), count(topic.published), count(topic.events), topic.oldest ?? '–', topic.newest ?? '–'];
    texts.forEach((text, index) => setText(row.cells[index + 1], text));
    row.cells[1].classList.toggle('busy', topic.rate > 0);
    row.cells[5].title = topic.oldest ?? '';
    row.cells[6].title = topic.newest ?? '';
    row.classList.toggle('closed', topic.closed === true);
    row.title = topic.closed ? 'This topic is closed' : '';
  }

  #explain(shown) {
    setText(byId('topics-count'), this.#total === 0 ? '' : count(this.#total));
    const empty = byId('topics-empty');
    const state = shown > 0 ? 'none' : this.#topics.length > 0 ? 'filtered' : 'empty';
    if (empty.dataset.state !== state) {
      empty.dataset.state = state;
      empty.hidden = state === 'none';
      empty.replaceChildren(...(state === 'filtered'
        ? [element('p', { className: 'empty-title', textContent: 'No topic matches the filter.' })]
        : state === 'empty' ? this.#emptyHint() : []));
    }
    setText(byId('topics-foot'), this.#total > this.#topics.length
      ? `The ${count(this.#topics.length)} most recently active of ${count(this.#total)} topics.`
      : 'Choose a topic to follow it. Hold Shift to add it to the ones you follow.');
  }
}
