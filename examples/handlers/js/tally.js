// Votes: each event is a choice; everybody learns its new count, and whoever comes learns all of them first.
import { kv } from 'fanfare:handler';

const MAX_CHOICES = 400;

const choices = (topic) => (kv.get(`choices/${topic}`) ?? '').split(' ').filter(Boolean);
const votesKey = (topic, choice) => `votes/${topic}/${choice}`;

export function transform({ topic, data }) {
  if (!/^[a-z]{1,20}$/.test(data)) return { reject: 'a choice has 1 to 20 letters' };
  const votes = kv.increment(votesKey(topic, data));
  if (votes === 1) {
    const known = choices(topic);
    if (known.length === MAX_CHOICES) {
      kv.delete(votesKey(topic, data));
      return { reject: 'too many choices' };
    }
    kv.set(`choices/${topic}`, [...known, data].join(' '));
  }
  return { kind: 'tally', data: { choice: data, votes } };
}

export function onSubscribe({ topics }) {
  return topics.map((topic) => {
    const counts = choices(topic).map((choice) => [choice, Number(kv.get(votesKey(topic, choice)))]);
    return { topic, kind: 'snapshot', data: Object.fromEntries(counts) };
  });
}
