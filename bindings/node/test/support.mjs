// What the suites share. Hubs listen on loopback, on a port that the system chooses; waiting is by condition, with a limit far
// above what any step takes.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Fanfare } from 'fanfare';

const WAIT_LIMIT_MS = 60_000;

const steps = new WeakMap();

/** Has `step` done behind the test. The last one is done first, where `t.after` begins with the first. */
function behind(t, step) {
  if (!steps.has(t)) {
    steps.set(t, []);
    t.after(async () => {
      for (const done of steps.get(t).reverse()) await done();
    });
  }
  steps.get(t).push(step);
}

/** A folder that is removed behind the test, when hubs that were started after it have stopped. */
export function folderFor(t) {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'));
  behind(t, () => rmSync(folder, { recursive: true }));
  return folder;
}

/** A hub that is stopped behind the test. */
export async function hubFor(t, options = {}) {
  const hub = await Fanfare.start({ listen: '127.0.0.1:0', 'timeouts.stop': '1s', ...options });
  behind(t, () => hub.stop({ timeout: 0 }));
  return hub;
}

/** Waits until `probe` gives something truthy, and gives that. */
export async function until(what, probe) {
  const end = Date.now() + WAIT_LIMIT_MS;
  for (;;) {
    const result = await probe();
    if (result) return result;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(10);
  }
}

/** The next `count` events of an iterator. */
export async function take(iterator, count) {
  const events = [];
  while (events.length < count) {
    const { value, done } = await iterator.next();
    if (done) break;
    events.push(value);
  }
  return events;
}

/** What a call throws; fails if it does not. */
export function thrown(call) {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('it did not throw');
}
