// The server of the voting page: `fanfare serve --handler votes=tally.js`. A vote comes in, the tally goes out, and whoever
// comes gets it first.
import { kv } from 'fanfare:handler';

const CHOICES = ['Tea', 'Coffee', 'Water'];

const tally = () => ({ kind: 'tally', data: Object.fromEntries(CHOICES.map((name) => [name, Number(kv.get(name) ?? 0)])) });

export function transform(event) {
  if (!CHOICES.includes(event.data)) return { reject: `vote for one of ${CHOICES.join(', ')}` };
  kv.increment(event.data);
  return tally();
}

export function onSubscribe({ topics }) {
  return topics.map((topic) => ({ topic, ...tally() }));
}
