// The publish form: one POST, and its answer as a sentence next to the button.

import { query, topicPath } from './address.js';
import { byId, element } from './dom.js';
import { refusal } from './format.js';

/** Form fields by the `field` names of the hub's errors. */
const FIELDS = { topic: 'pub-topic', event: 'pub-event', id: 'pub-id', data: 'pub-data' };

export class PublishForm {
  #form = byId('publish');
  #result = byId('pub-result');
  #sending = false;

  /** `onChange()` after every edit; `onPublished()` after the hub has taken an event. */
  constructor({ onChange, onPublished }) {
    this.#form.addEventListener('input', () => {
      this.#unmark();
      onChange();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send().then((sent) => sent && onPublished());
    });
    byId('pub-data').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
  }

  /** What the form holds now. */
  get draft() {
    return Object.fromEntries(Object.entries(FIELDS).map(([name, id]) => [name, byId(id).value]));
  }

  /** Puts a topic into the form. */
  set topic(name) {
    byId('pub-topic').value = name;
  }

  async #send() {
    if (this.#sending) return false;
    this.#sending = true;
    this.#unmark();
    const { topic, event, id, data } = this.draft;
    try {
      const response = await fetch(topicPath(topic) + query([['event', event], ['id', id]]), { method: 'POST', body: data });
      if (!response.ok) {
        const error = await refusal(response);
        this.#fail(error.text, error.field || /^invalid_(topic|event|id|data)$/.exec(error.code)?.[1]);
        return false;
      }
      const answer = await response.json();
      this.#show('good', answer.id ? ['Published as ', element('b', { textContent: answer.id }), '.'] : ['Taken by a handler, nothing was published.']);
      return true;
    } catch (error) {
      // topicPath explains itself; everything else here is a connection that failed.
      if (error instanceof TypeError && /topic/i.test(error.message)) this.#fail(error.message, 'topic');
      else this.#fail('The hub does not answer, nothing was published.');
      return false;
    } finally {
      this.#sending = false;
    }
  }

  #fail(text, field) {
    this.#show('bad', [text]);
    const input = FIELDS[field] && byId(FIELDS[field]);
    if (!input) return;
    input.setAttribute('aria-invalid', 'true');
    input.focus();
  }

  #show(kind, nodes) {
    this.#result.dataset.kind = kind;
    this.#result.replaceChildren(...nodes);
  }

  #unmark() {
    for (const id of Object.values(FIELDS)) byId(id).removeAttribute('aria-invalid');
    if (this.#result.dataset.kind === 'bad') this.#show('', []);
  }
}
