// What a program in TypeScript may write, and what the compiler has to refuse.

import { createServer } from 'node:http';

import { Fanfare, FanfareError, type FanfareEvent, type Gap, type Stats, type Stream } from 'fanfare';

await using hub = await Fanfare.start({ listen: '127.0.0.1:0', 'history.events': 10, history: { age: '1h' } });
const id: string | undefined = hub.publish('t', { n: 1 }, { event: 'e', retry: 5 });
if (id === undefined) throw new Error('a handler has dropped it');
hub.publish('t', Buffer.from('x'));
hub.publish('t');
const ids: (string | undefined)[] = hub.publishBatch([{ topic: 't', data: 'x', key: 'k' }]);
const stats: Stats = hub.stats();
for await (const event of hub.subscribe(['a', 'b'], { since: id, lag: 'skip', signal: AbortSignal.timeout(5) })) {
  const gap: Gap | null = event.gap;
  const text: string = event.data + gap?.newest + ids.length + stats.published;
  console.log(text, event.json().n);
}
hub.on('gap', (event: FanfareEvent) => console.log(event.gap));
const report: { streams: number; cut: number } = await hub.stop({ timeout: 100 });
try {
  hub.closeTopic('t');
  hub.deleteHistory('t');
} catch (error) {
  if (error instanceof FanfareError) console.log(error.code.length, error.status + report.cut);
}

createServer((req, res) => {
  const stream: Stream | null = hub.accept(req, res, { topics: 't', client: 'me', headers: { 'X-A': ['1', '2'] }, replay: 'all' });
  stream?.close();
});
const answer: Response = hub.response(new Request('http://a/'), { topics: ['t'] });
hub.on('disconnect', (stream, reason) => console.log(stream.handedOff, reason.length, answer.status));
await Fanfare.start({ authorize: async ({ action, headers }) => (action === 'subscribe' ? headers.cookie ?? false : { status: 401 }) });

// @ts-expect-error: topics have to be named
hub.response(new Request('http://a/'), {});
// @ts-expect-error: not a verdict
await Fanfare.start({ authorize: () => 5 });
// @ts-expect-error: a topic is text
hub.publish(5, 'x');
// @ts-expect-error: a handler may have dropped it
const always: string = hub.publish('t', 'x');
const handler: string = await hub.loadHandler('t', new URL('file:///votes.wasm'), { settings: 'event=vote' });
await hub.loadHandler('t', Buffer.from(handler), { name: 'h' });
// @ts-expect-error: misspelt
hub.publish('t', 'x', { evnt: 'e' });
// @ts-expect-error: a policy that does not exist
hub.subscribe('t', { lag: 'slow' });
// @ts-expect-error: only `start` makes hubs
new Fanfare();
// @ts-expect-error: nothing to assign
hub.url = 'x';
