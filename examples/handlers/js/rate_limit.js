// At most so many events a minute in each topic, handler.config = ["rate=3"]; the rest is refused.
import { config, kv } from 'fanfare:handler';

const rate = Number(config.get('rate') ?? 60);

export function transform({ topic }) {
  if (kv.increment(topic, 1, 60_000) > rate) return { reject: `more than ${rate} events a minute` };
}
