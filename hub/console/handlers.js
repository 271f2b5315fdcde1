// The event handlers: how often each is called, how long that takes, what it answers and how it fails. The panel is there
// when the hub has handlers. Rows are kept and updated in place, in the order in which events pass the handlers.

import { byId, element, setText } from './dom.js';
import { bytes, count, micros, rate } from './format.js';

/** Counts by name, without those that are zero: `pass 3, emit 1`. */
const named = (counts) => Object.entries(counts ?? {})
  .filter(([, number]) => number > 0)
  .map(([name, number]) => `${name} ${count(number)}`)
  .join(', ');
const sum = (counts) => Object.values(counts ?? {}).reduce((all, number) => all + number, 0);

export class HandlerTable {
  #body = byId('handlers').tBodies[0];
  #rows = new Map();

  /** Takes a new answer of the hub. */
  update(handlers, rates) {
    byId('handlers-card').hidden = handlers.length === 0;
    setText(byId('handlers-count'), count(handlers.length));
    const names = new Set(handlers.map((handler) => handler.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    handlers.forEach((handler, index) => {
      const row = this.#rows.get(handler.name) ?? this.#add(handler.name);
      this.#fill(row, handler, rates.handler(handler.name));
      const there = this.#body.rows[index];
      if (there !== row) this.#body.insertBefore(row, there ?? null);
    });
  }

  #add(name) {
    const cell = (className) => element('td', { className });
    const row = element('tr', {}, element('th', { scope: 'row', className: 'name', textContent: name, title: name }),
      cell('topics'), cell('num rate'), cell('num'), cell('num'), cell('words'), cell('words faults'), cell('num'));
    row.dataset.handler = name;
    this.#rows.set(name, row);
    return row;
  }

  #fill(row, handler, lately) {
    const types = handler.events ?? [];
    const faults = sum(handler.faults);
    const rested = handler.rested > 0 ? [`rested ${count(handler.rested)}`] : [];
    const failures = [...(faults > 0 ? [`${count(faults)}: ${named(handler.faults)}`] : []), ...rested].join(', ');
    const texts = [
      types.length === 0 ? handler.topics : `${handler.topics} (${types.join(', ')})`,
      rate(lately.rate),
      micros(lately.micros ?? (handler.calls > 0 ? handler.time_us / handler.calls : null)),
      count(handler.calls),
      named(handler.outcomes) || '–',
      failures || '0',
      bytes(handler.state_bytes).join(' '),
    ];
    texts.forEach((text, index) => {
      const cell = row.cells[index + 1];
      setText(cell, text);
      cell.title = text;
    });
    row.cells[2].classList.toggle('busy', lately.rate > 0);
    row.cells[6].classList.toggle('bad', failures !== '');
  }
}
