// What the tests of the examples share: servers as processes of their own, a reader of streams, a browser, patient waiting.
//
// Waiting is by condition, with a limit far above what any step takes; no test looks at elapsed time. Servers listen on loopback,
// on a port that the system chooses, and take the same one again when they are started again.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { createParser } from 'eventsource-parser';
import { chromium } from 'playwright-core';

const WAIT_LIMIT_MS = 60_000;
export const LIMIT = { timeout: 150_000 };
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A variable that the test run has to set; see `cargo xtask examples`. */
export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the examples' tests by \`cargo xtask examples\``);
  return value;
}

/** Waits until `probe` gives something truthy, and gives that. */
export async function until(what, probe) {
  const end = Date.now() + WAIT_LIMIT_MS;
  for (;;) {
    const result = await probe();
    if (result) return result;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(20);
  }
}

/** A port that is free, for servers that cannot say which one they took. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** A server of an example in a process group of its own, so that its workers go with it. */
export class Server {
  #child;
  #command;
  output = '';

  /** `command` is the program and its arguments, in which `{port}` stands for the port. */
  static async start(t, command, { env = {}, port = 0 } = {}) {
    const server = new Server();
    server.#command = command;
    server.env = env;
    behind(t, () => server.kill());
    await server.#begin(port);
    return server;
  }

  async #begin(port) {
    const [program, ...args] = this.#command.map((word) => word.replaceAll('{port}', String(port)));
    // FANFARE_* is the configuration of the program `fanfare`, which refuses what it does not know.
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FANFARE_')));
    const child = spawn(program, args, {
      detached: true, env: { ...own, ...this.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.on('error', (error) => { this.output += error; });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
        this.output += text;
      });
    }
    this.url = await until(`${this.#command.join(' ')} to listen`, () => {
      if (child.exitCode !== null || child.pid === undefined) throw new Error(`${this.#command.join(' ')}\n${this.output}`);
      return /https?:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
    });
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  signal(name) {
    process.kill(-this.#child.pid, name);
  }

  /** `kill -9`: nothing in it gets to say goodbye. */
  async kill() {
    const child = this.#child;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    process.kill(-child.pid, 'SIGKILL');
    await exit;
  }

  /** Starts it again where it was. */
  async again() {
    await this.#begin(this.port);
  }

  /** A request; its status, headers and body. */
  async ask(path, { method = 'GET', body, json, headers = {} } = {}) {
    const response = await fetch(this.url + path, {
      method, redirect: 'manual', body: json === undefined ? body : JSON.stringify(json),
      headers: { ...(json === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
    });
    const text = await response.text();
    return {
      status: response.status, headers: response.headers, text,
      get json() { return JSON.parse(text); },
    };
  }

  post(path, json, headers) {
    return this.ask(path, { method: 'POST', json, headers });
  }

  /** Opens a stream. */
  read(t, path, options) {
    return Reader.open(t, this.url + path, options);
  }
}

/** A stream as an independent parser reads it: `events` are `{ event, id, data }`, `retry` the last reconnection time told. */
export class Reader {
  events = [];
  ended = false;
  retry = null;
  #abort = new AbortController();

  static async open(t, url, { lastEventId, headers = {} } = {}) {
    const reader = new Reader();
    t.after(() => reader.close());
    const response = await fetch(url, {
      signal: reader.#abort.signal,
      headers: { Accept: 'text/event-stream', ...headers, ...(lastEventId ? { 'Last-Event-ID': lastEventId } : {}) },
    });
    reader.status = response.status;
    reader.headers = response.headers;
    reader.#pump(response.body);
    return reader;
  }

  async #pump(body) {
    const parser = createParser({
      onEvent: ({ event = 'message', id, data }) => this.events.push({ event, id, data }),
      onRetry: (retry) => { this.retry = retry; },
    });
    const decoder = new TextDecoder();
    try {
      for await (const bytes of body ?? []) parser.feed(decoder.decode(bytes, { stream: true }));
    } catch {
      // Cut, by either side.
    }
    this.ended = true;
  }

  close() {
    this.#abort.abort();
  }

  /** Data of the events of a type. */
  data(type) {
    return this.events.filter(({ event }) => event === type).map(({ data }) => data);
  }

  /** Waits for so many events of a type and gives their data; more than that fails. */
  async has(type, count) {
    await until(`${count} events of the type ${type}, of which there are ${this.data(type).length}`,
      () => this.data(type).length >= count);
    const data = this.data(type);
    assert.equal(data.length, count, `events of the type ${type}: ${data}`);
    return data;
  }

  get lastId() {
    return this.events.findLast(({ id }) => id !== undefined)?.id;
  }
}

/** A headless Chromium that is closed behind the test. */
export async function startBrowser(t, args = []) {
  const browser = await chromium.launch({
    executablePath: setting('FANFARE_CHROMIUM'),
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', ...args,
    ],
  });
  t.after(() => browser.close());
  return browser;
}

/** A page, and what went wrong in it: `page.faults` are exceptions and messages of the page's own code. */
export async function openPage(context, url) {
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  await page.goto(url);
  return page;
}

export const texts = (page, selector) => page.$$eval(selector, (found) => found.map((one) => one.textContent));

/** Waits until the elements have exactly these texts. */
export async function shows(page, selector, wanted) {
  let last;
  await until(`${selector} to be ${JSON.stringify(wanted)}`, async () => {
    last = await texts(page, selector);
    return JSON.stringify(last) === JSON.stringify(wanted);
  }).catch((error) => { throw new Error(`${error.message}, not ${JSON.stringify(last)}`); });
}

/** Waits until the page says that it is in this state: `Connected`, `Connecting...`, `Disconnected`. */
export const state = (page, wanted) => shows(page, '#state', [wanted]);

/** Takes the picture for docs/examples when the run is asked to, by FANFARE_SCREENSHOTS=yes. */
export async function screenshot(page, name, size = { width: 760, height: 480 }) {
  if (process.env.FANFARE_SCREENSHOTS !== 'yes') return;
  await page.setViewportSize(size);
  await page.screenshot({ path: join(ROOT, 'docs/examples', `${name}.png`) });
}

/** A certificate for 127.0.0.1, as files. */
export function certificate(t) {
  const made = folder(t);
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(made, name));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { TLS_KEY: key, TLS_CERT: cert };
}

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

/** A folder that is removed behind the test, when servers that were started after it are gone. */
export function folder(t) {
  const made = mkdtempSync(join(tmpdir(), 'fanfare-example-'));
  behind(t, () => rmSync(made, { recursive: true, maxRetries: 10 }));
  return made;
}

/** The path of a file of an example. */
export const file = (path) => join(ROOT, 'examples', path);
