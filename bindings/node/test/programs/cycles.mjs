// Starts and stops hubs in one process, with everything in use; prints what is left over. Needs --expose-gc.

import { readdirSync } from 'node:fs';

import { Fanfare } from 'fanfare';

const CYCLES = Number(process.argv[2]);

const counted = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
});

// Hubs that JavaScript has let go of.
let collected = 0;
const registry = new FinalizationRegistry(() => { collected += 1; });

async function cycle() {
  const hub = await Fanfare.start({ listen: '127.0.0.1:0' });
  registry.register(hub);
  const readers = Array.from({ length: 5 }, () => hub.subscribe('t'));
  const got = Promise.all(readers.map((reader) => reader.next()));
  const stream = await fetch(`${hub.url}/events/t`);
  const first = hub.publish('t', 'x');
  for (const { value } of await got) if (value.data !== 'x') throw new Error(value.data);
  const reading = stream.body.getReader();
  await reading.read();
  hub.publishBatch([{ topic: 't', data: 'y' }, { topic: 't', data: { z: 1 } }]);
  const resumed = await hub.subscribe('t', { since: first }).next();
  if (resumed.value.data !== 'y') throw new Error(resumed.value.data);
  const torn = await hub.subscribe('t', { since: 'nobody-knows' }).next();
  if (!torn.value.gap) throw new Error('no gap');
  try {
    hub.publish('', 'x');
    throw new Error('not refused');
  } catch (error) {
    if (error.code !== 'invalid_topic') throw error;
  }
  await hub.stop({ timeout: 50 });
  await reading.cancel().catch(() => {});
}

await cycle();
await cycle();
const before = counted();
for (let n = 0; n < CYCLES; n += 1) await cycle();
// What the client of Node keeps of its connections goes a moment later.
for (let n = 0; n < 100 && counted().descriptors > before.descriptors; n += 1) {
  await new Promise((resolve) => setTimeout(resolve, 50));
}
for (let n = 0; n < 200 && collected < CYCLES + 2; n += 1) {
  globalThis.gc();
  await new Promise((resolve) => setTimeout(resolve, 20));
}
console.log(JSON.stringify({ before, after: counted(), left: CYCLES + 2 - collected }));
