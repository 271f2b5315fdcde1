// A hub of a worker's own. Says its URL, counts what it reads, and ends in the way that it is told.

import { parentPort, workerData } from 'node:worker_threads';

import { Fanfare } from 'fanfare';

const hub = await Fanfare.start({ listen: '127.0.0.1:0' });
const reader = hub.subscribe('t');
hub.publish('t', 'hello');
const { value } = await reader.next();
parentPort.postMessage({ url: hub.url, data: value.data });
if (workerData === 'stop') {
  await hub.stop({ timeout: 0 });
} else if (workerData === 'leave') {
  // Nothing waits: the worker ends though its hub runs.
} else if (workerData === 'exit') {
  process.exit(0);
} else {
  setInterval(() => { for (let n = 0; n < 100; n += 1) hub.publish('t', 'more'); }, 1);
  for await (const event of reader) if (event.data === 'never') break;
}
