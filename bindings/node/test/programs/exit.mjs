// Ends its process in the way that its argument names, with many streams open and readers waiting.

import { request } from 'node:http';

import { Fanfare } from 'fanfare';

const hub = await Fanfare.start({ listen: '127.0.0.1:0' });
const responses = await Promise.all(Array.from({ length: Number(process.argv[3]) }, () => new Promise((resolve, reject) => {
  request(`${hub.url}/events/t`, { agent: false }, resolve).on('error', reject).end();
})));
for (const response of responses) response.on('error', () => {}).resume();
const readers = Array.from({ length: 50 }, () => hub.subscribe('t'));
for (const reader of readers) reader.next();
hub.publish('t', 'x');
const busy = setInterval(() => { for (let n = 0; n < 1_000; n += 1) hub.publish('t', 'more'); }, 1);
await new Promise((resolve) => setTimeout(resolve, 5));
console.log('up');
switch (process.argv[2]) {
  case 'exit':
    process.exit(0);
    break;
  case 'end': {
    // The loop runs empty, though the hub runs.
    clearInterval(busy);
    for (const response of responses) response.destroy();
    for (const reader of readers) reader.return();
    break;
  }
  case 'stop':
    hub.stop({ timeout: 0 });
    process.exit(0);
    break;
  case 'start':
    Fanfare.start({ listen: '127.0.0.1:0' });
    process.exit(0);
    break;
  default:
    throw new Error('exit, end, stop or start');
}
