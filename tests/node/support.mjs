// What every suite here needs: a hub of its own, a browser, and patient waiting.
//
// `FANFARE_BIN` names the program under test, `FANFARE_CHROMIUM` the browser (default: Debian's place).
// Hubs listen on loopback only, on a port that the system chooses. Waiting is by condition with a limit
// far above what any step takes; no test looks at elapsed time.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { chromium } from 'playwright-core';

const START_LIMIT_MS = 30_000;
const WAIT_LIMIT_MS = 60_000;

/** The program under test; without it no suite can say anything, so its absence is an error. */
export function binary() {
  const path = process.env.FANFARE_BIN;
  if (!path) throw new Error('FANFARE_BIN is not set: it names the fanfare program to test');
  return path;
}

/** A running hub. Make it with `startHub`. */
class Hub {
  #child;
  #log;

  constructor(child, url, log) {
    this.#child = child;
    this.#log = log;
    /** `http://127.0.0.1:PORT`, without a slash at the end. */
    this.url = url;
  }

  /** `127.0.0.1:PORT`, to start another hub in the same place. */
  get address() {
    return this.url.slice('http://'.length);
  }

  get pid() {
    return this.#child.pid;
  }

  /** Everything the hub wrote so far. */
  get output() {
    return this.#log.join('');
  }

  /** Publishes one event and returns its id. `parameters` are the query's, such as `event`. */
  async publish(topic, data, parameters = {}) {
    const path = `/events/${encodeURIComponent(topic)}?${query(parameters)}`;
    const response = await fetch(this.url + path, { method: 'POST', body: data });
    if (!response.ok) throw new Error(`publish: ${response.status} ${await response.text()}`);
    return (await response.json()).id;
  }

  /** Publishes many events, `[{ data, event?, id? }]`, in one request and returns their ids. */
  async publishAll(topic, events) {
    const response = await fetch(`${this.url}/events/${encodeURIComponent(topic)}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-ndjson' },
      body: events.map((event) => `${JSON.stringify(event)}\n`).join(''),
    });
    if (!response.ok) throw new Error(`publish: ${response.status} ${await response.text()}`);
    return (await response.json()).ids;
  }

  async stats() {
    return (await fetch(`${this.url}/stats`)).json();
  }

  /** Sends a signal and does not wait; SIGSTOP and SIGCONT pause and continue the process. */
  signal(name) {
    this.#child.kill(name);
  }

  /** Ends the hub: SIGTERM for a graceful stop, SIGKILL for a crash. Resolves to its exit code. */
  async stop(signal = 'SIGTERM') {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill(signal);
      await ended;
    }
    return this.#child.exitCode;
  }
}

/** Parameters as a query, a space written `%20`. */
function query(parameters) {
  return Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

/** Starts `fanfare serve`; `listen` defaults to a free port, `args` are added. */
export async function startHub({ listen = '127.0.0.1:0', args = [] } = {}) {
  // FANFARE_* is the hub's configuration, and it refuses what it does not know.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FANFARE_')));
  const child = spawn(binary(), ['serve', '--listen', listen, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const log = [];
  child.stderr.setEncoding('utf8').on('data', (text) => log.push(text));
  const url = await new Promise((resolve, reject) => {
    const failed = (why) => {
      child.kill('SIGKILL');
      reject(new Error(`the hub did not start: ${why}\n${log.join('')}`));
    };
    const timer = setTimeout(() => failed('no “listening on” line'), START_LIMIT_MS);
    child.on('error', (error) => failed(error.message));
    child.on('exit', (code, signal) => failed(`it ended with ${code ?? signal}`));
    let seen = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      log.push(text);
      seen += text;
      const found = /listening on (http:\/\/[^\s/]+)/.exec(seen);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]);
    });
  });
  return new Hub(child, url, log);
}

/** Starts Chromium. */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.FANFARE_CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
}

/**
 * Opens a page in a context of its own and collects what must not happen there: `complaints` are
 * console errors, uncaught exceptions and CSP violations, `requests` every URL asked for.
 */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  const requests = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  return { context, page, complaints, requests };
}

/** Waits until `probe` returns something truthy and returns that; `what` completes “waited for …”. */
export async function until(what, probe) {
  const end = Date.now() + WAIT_LIMIT_MS;
  for (;;) {
    const result = await probe();
    if (result) return result;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(50);
  }
}
