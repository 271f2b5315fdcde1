// Nobody wants every event of a busy topic: its readers learn from time to time how many there were.
import { config, kv } from 'fanfare:handler';

export function transform() {
  kv.increment('seen');
  return null;
}

export function transformBatch(events) {
  kv.increment('seen', events.length);
  return events.map(() => null);
}

export function tick() {
  const seen = kv.get('seen');
  if (seen === undefined) return;
  kv.delete('seen');
  return { topic: config.get('topic') ?? 'digest', kind: 'digest', data: seen };
}
