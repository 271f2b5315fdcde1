// Web servers that programs have, each with one route that gives its requests to a hub; and a client that reads what comes.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import express from 'express';
import fastify from 'fastify';

import { until } from './support.mjs';

/** A certificate for 127.0.0.1. */
export function certificate() {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-tls-'));
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(folder, name));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const pair = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });
  return pair;
}

/**
 * Each starts a server whose `/events` calls `route(req, res)`, with what every server has set on its answer before: a CORS header
 * and two cookies. `/plain` is an ordinary page.
 */
export const HOSTS = {
  http: (route) => listen(http.createServer(plain(route))),
  express: async (route) => {
    const app = express();
    app.use((req, res, next) => {
      decorate(res);
      next();
    });
    app.get('/events', route);
    app.get('/plain', (req, res) => res.send('plain'));
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return listening(server);
  },
  fastify: async (route) => {
    const app = fastify();
    app.addHook('onRequest', async (req, reply) => {
      reply.header('Access-Control-Allow-Origin', 'https://page.example');
      reply.header('Set-Cookie', ['a=1', 'b=2']);
    });
    app.get('/events', (req, reply) => { route(req, reply); });
    app.get('/plain', async () => 'plain');
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { ...listening(app.server), close: () => app.close() };
  },
  'fastify, hijacked by the route': async (route) => {
    const app = fastify();
    app.get('/events', (req, reply) => {
      reply.hijack();
      decorate(reply.raw);
      route(req.raw, reply.raw);
    });
    app.get('/plain', async () => 'plain');
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { ...listening(app.server), close: () => app.close() };
  },
  https: (route, tls) => listen(https.createServer(tls, plain(route)), 'https'),
  http2: async (route, tls) => {
    const server = http2.createSecureServer(tls, plain(route));
    const sessions = new Set();
    server.on('session', (session) => sessions.add(session));
    const running = await listen(server, 'https');
    return {
      ...running,
      close: () => {
        for (const session of sessions) session.destroy();
        return running.close();
      },
    };
  },
};

function decorate(res) {
  res.setHeader('Access-Control-Allow-Origin', 'https://page.example');
  res.setHeader('Set-Cookie', ['a=1', 'b=2']);
  // What a stream says itself: the host's own has to give way.
  res.setHeader('Cache-Control', 'max-age=60');
  res.setHeader('Content-Type', 'text/html');
}

function plain(route) {
  return (req, res) => {
    if (req.url === '/plain') {
      res.end('plain');
      return;
    }
    decorate(res);
    route(req, res);
  };
}

async function listen(server, scheme) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return listening(server, scheme);
}

function listening(server, scheme = 'http') {
  return {
    server,
    url: `${scheme}://127.0.0.1:${server.address().port}`,
    connections: () => new Promise((resolve, reject) => {
      server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
    }),
    close: () => new Promise((resolve) => {
      server.closeAllConnections?.();
      server.close(resolve);
    }),
  };
}

/** A client of a stream: `status`, `headers`, what it has read as `text`, and `events`. */
export class Client {
  text = '';
  ended = false;

  static async open(url, { headers = {}, method = 'GET' } = {}) {
    const client = new Client();
    const scheme = url.startsWith('https') ? https : http;
    const request = scheme.request(url, { agent: false, rejectUnauthorized: false, headers, method });
    request.on('error', () => { client.ended = true; });
    request.end();
    const [response] = await once(request, 'response');
    client.#begin(response, () => request.destroy());
    return client;
  }

  static async open2(url, path, headers = {}) {
    const client = new Client();
    const session = http2.connect(url, { rejectUnauthorized: false });
    session.on('error', () => {});
    const stream = session.request({ ':path': path, ...headers });
    const [answer] = await once(stream, 'response');
    stream.statusCode = answer[':status'];
    stream.headers = answer;
    client.#begin(stream, () => session.destroy());
    return client;
  }

  #begin(response, close) {
    this.status = response.statusCode;
    this.headers = response.headers;
    this.close = close;
    this.response = response;
    response.setEncoding('utf8');
    response.on('data', (text) => { this.text += text; });
    response.on('error', () => {});
    response.on('close', () => { this.ended = true; });
  }

  /** Data of every event so far, those of several lines joined. */
  get events() {
    return this.text.split('\n\n').map((block) => block.split('\n').filter((line) => line.startsWith('data:'))
      .map((line) => line.slice(5).replace(/^ /, '')).join('\n')).filter((data) => data !== '');
  }

  get lastId() {
    return [...this.text.matchAll(/^id: ?(.*)$/gm)].at(-1)?.[1];
  }

  async has(count) {
    await until(`${count} events`, () => this.events.length >= count);
    return this.events;
  }

  async end() {
    await until('the end of a stream', () => this.ended);
  }
}
