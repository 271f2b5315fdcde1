// A TCP proxy that cuts connections and lets the hub behind it change; numbered events; a certificate.
//
// A cut comes after a number of bytes of the answer, by FIN or RST. Where it falls is random by a seed, so a
// failing run can be had again.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Command line of a hub whose readers come back at once and whose history holds all that a test publishes. */
export const BRISK = settings({
  retry: '10ms', 'retry.jitter': '0', heartbeat: '0', 'timeouts.stop': '200ms',
  'history.events': '20000', 'history.bytes': '16MiB',
});

/** Configuration as command line arguments. */
export function settings(values) {
  return Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` cuts, each after `least` to `most` bytes, half of them by FIN. */
export function randomCuts(seed, count, least, most) {
  const random = randomFrom(seed);
  return Array.from({ length: count }, () => ({
    after: Math.floor(least + random() * (most - least)),
    how: random() < 0.5 ? 'fin' : 'rst',
  }));
}

/** Listens on a free port and passes connections to `upstream`, a port on loopback, or refuses them while that is null. */
export class CuttingProxy {
  #server;
  #open = new Set();
  #planned = [];

  /** Connections that were cut as planned. */
  cuts = 0;

  /** Connections that reached for the hub. */
  connections = 0;

  static async start(upstream) {
    const proxy = new CuttingProxy();
    proxy.upstream = upstream;
    proxy.#server = createServer((client) => proxy.#serve(client));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** `127.0.0.1:PORT` */
  get address() {
    return `127.0.0.1:${this.#server.address().port}`;
  }

  /** The next connections are cut so, in this order; those that are open now are closed. */
  plan(cuts) {
    this.closeAll();
    this.#planned = [...cuts];
  }

  closeAll() {
    for (const socket of this.#open) socket.destroy();
  }

  async stop() {
    this.closeAll();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(client) {
    client.on('error', () => {});
    if (this.upstream === null) {
      client.resetAndDestroy();
      return;
    }
    this.connections += 1;
    const cut = this.#planned.shift();
    let left = cut?.after ?? Infinity;
    const upstream = connect(this.upstream, '127.0.0.1');
    client.setNoDelay();
    for (const socket of [client, upstream]) {
      this.#open.add(socket);
      socket.on('close', () => this.#open.delete(socket));
    }
    upstream.on('error', () => client.resetAndDestroy());
    upstream.on('close', () => {
      // The connection ended before its cut: the next one gets it.
      if (cut && left > 0) this.#planned.unshift(cut);
    });
    upstream.on('end', () => client.end());
    client.on('close', () => upstream.destroy());
    client.on('data', (data) => {
      if (!upstream.destroyed) upstream.write(data);
    });
    upstream.on('data', (data) => {
      const part = data.subarray(0, left);
      left -= part.length;
      if (left > 0) {
        if (!client.write(part)) {
          upstream.pause();
          client.once('drain', () => upstream.resume());
        }
        return;
      }
      upstream.removeAllListeners('data');
      upstream.destroy();
      this.cuts += 1;
      if (cut.how === 'fin') client.end(part);
      else client.write(part, () => client.resetAndDestroy());
    });
  }
}

/** Port of the hub's plain listener. */
export function plainPort(hub) {
  return Number(new URL(hub.url).port);
}

/** Port of the hub's TLS listener, which it names on a line of its own. */
export function tlsPort(hub) {
  const found = /https:\/\/127\.0\.0\.1:(\d+)/.exec(hub.output);
  if (!found) throw new Error(`the hub names no https address:\n${hub.output}`);
  return Number(found[1]);
}

/** A self-signed certificate: the arguments that make a hub use it, and how to throw it away. */
export async function certificate() {
  const folder = await mkdtemp(join(tmpdir(), 'fanfare-tls-'));
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(folder, name));
  await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', key, '-out', cert,
  ]);
  return {
    args: ['--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key],
    remove: () => rm(folder, { recursive: true }),
  };
}

const PAD = '.'.repeat(100);

/** Publishes the numbers from `first` up to, not including, `last`; the data is the number and some dots. */
export async function publishNumbers(hub, topic, first, last) {
  for (let start = first; start < last; start += 50) {
    const count = Math.min(50, last - start);
    await hub.publishAll(topic, Array.from({ length: count }, (_, n) => ({ data: `${start + n} ${PAD}` })));
  }
}

/** The numbers from `first` up to, not including, `last`. */
export function numbers(first, last) {
  return Array.from({ length: last - first }, (_, n) => first + n);
}
