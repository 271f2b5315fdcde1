// What calls cost from Node, in microseconds each: `node benches/ffi/node_calls.mjs`, with the binding built. Prints the time on the
// clock and the processor time of the whole process, its other threads included, of the best and the median of several
// rounds, because other programs on the machine only ever add.

import { Fanfare } from '../../bindings/node/lib/index.mjs';

const CALLS = 200_000;
const EVENTS = 100_000;
const ROUNDS = 7;

async function measure(name, count, round) {
  const rounds = [];
  for (let n = 0; n < ROUNDS; n += 1) rounds.push(await round());
  const show = (what) => {
    const costs = rounds.map((cost) => cost[what] / count).sort((a, b) => a - b);
    return `best ${costs[0].toFixed(3)} us, median ${costs[ROUNDS >> 1].toFixed(3)} us`;
  };
  console.log(`${name}\n    clock:     ${show('clock')}\n    processor: ${show('processor')}`);
}

async function timed(work) {
  const before = process.cpuUsage();
  const start = performance.now();
  await work();
  const clock = (performance.now() - start) * 1_000;
  const { user, system } = process.cpuUsage(before);
  return { clock, processor: user + system };
}

const hub = await Fanfare.start({ listen: '127.0.0.1:0', 'history.events': EVENTS, 'history.bytes': '256MiB' });
const text = 'x'.repeat(100);
const bytes = Buffer.from(text);

await measure('publish, 100 bytes of text, no subscriber', CALLS, () => timed(() => {
  for (let n = 0; n < CALLS; n += 1) hub.publish('bench', text);
}));
await measure('publish, 100 bytes in a Buffer, no subscriber', CALLS, () => timed(() => {
  for (let n = 0; n < CALLS; n += 1) hub.publish('bench', bytes);
}));
await measure('publish, a small object, with an event type', CALLS, () => timed(() => {
  for (let n = 0; n < CALLS; n += 1) hub.publish('bench', { n, text: 'hello' }, { event: 'number' });
}));
await measure('publish, 100 bytes of text, with an event type', CALLS, () => timed(() => {
  for (let n = 0; n < CALLS; n += 1) hub.publish('bench', text, { event: 'number' });
}));
for (const [what, more] of [['', {}], [', with an event type', { event: 'number' }]]) {
  const batch = Array.from({ length: 1_000 }, () => ({ topic: 'bench', data: text, ...more }));
  await measure(`publishBatch, 1,000 at a time, each${what}`, EVENTS, () => timed(() => {
    for (let n = 0; n < EVENTS; n += 1_000) hub.publishBatch(batch);
  }));
}
await measure('for await, each event of 100,000', EVENTS, () => {
  for (let n = 0; n < EVENTS; n += 1) hub.publish('read', text);
  return timed(async () => {
    let left = EVENTS;
    for await (const event of hub.subscribe('read', { replay: EVENTS })) {
      if (event.data.length !== text.length) throw new Error('wrong data');
      left -= 1;
      if (left === 0) break;
    }
  });
});
await measure('for await while it is published, each event', EVENTS, () => timed(async () => {
  const reader = hub.subscribe('live');
  const done = (async () => {
    let left = EVENTS;
    for await (const event of reader) {
      left -= event.data.length > 0;
      if (left === 0) break;
    }
  })();
  for (let n = 0; n < EVENTS; n += 1) {
    hub.publish('live', text);
    if (n % 100 === 0) await new Promise(setImmediate);
  }
  await done;
}));
await hub.stop({ timeout: 0 });
