// Starts and stops hubs in one process, with everything in use; prints what is left over.

import { readdirSync } from 'node:fs';

import { Fanfare } from 'fanfare';

const CYCLES = Number(process.argv[2]);

const counted = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
});

async function cycle() {
  const hub = await Fanfare.start({ listen: '127.0.0.1:0' });
  const readers = Array.from({ length: 5 }, () => hub.subscribe('t'));
  const got = Promise.all(readers.map((reader) => reader.next()));
  const stream = await fetch(`${hub.url}/events/t`);
  hub.publish('t', 'x');
  for (const { value } of await got) if (value.data !== 'x') throw new Error(value.data);
  const reading = stream.body.getReader();
  await reading.read();
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
console.log(JSON.stringify({ before, after: counted() }));
