// The server of the voting page: `fanfare serve --handler votes=tally.js`. A vote comes in, the tally goes out.
import { kv } from 'fanfare:handler';

const CHOICES = ['Tea', 'Coffee', 'Water'];

export function transform(event) {
  if (!CHOICES.includes(event.data)) return { reject: `vote for one of ${CHOICES.join(', ')}` };
  kv.increment(event.data);
  return { kind: 'tally', data: Object.fromEntries(CHOICES.map((name) => [name, Number(kv.get(name) ?? 0)])) };
}
