// Votes: each event is a choice, and what is broadcast is its count.
import { kv } from 'fanfare:handler';

export function transform({ data }) {
  if (!/^[a-z]{1,20}$/.test(data)) return { reject: 'a choice has 1 to 20 letters' };
  return { kind: 'tally', data: { choice: data, votes: kv.increment(data) } };
}
