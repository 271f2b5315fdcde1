import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { Stream } from './sse.mjs';

const { PORT = 3000, TLS_KEY, TLS_CERT } = process.env;
const MAX_CHARS = 10_000;
const hub = new Stream({ retry: 1000 });
const read = (name) => readFileSync(new URL(name, import.meta.url));
const files = { '/': ['text/html', read('../chat/index.html')], '/style.css': ['text/css', read('../shared/style.css')] };

async function handle(req, res) {
  const path = req.url.split('?')[0];
  if (path === '/chat' && req.method === 'GET') {
    hub.accept(req, res, { topics: 'chat', replay: 50 });
  } else if (path === '/chat' && req.method === 'POST') {
    let said = '';
    for await (const part of req.setEncoding('utf8')) if ((said += part).length > MAX_CHARS) break;
    if (said.length <= MAX_CHARS) hub.publish('chat', said, { event: 'chat' });
    res.writeHead(said.length <= MAX_CHARS ? 204 : 413).end();
  } else if (files[path]) {
    res.writeHead(200, { 'Content-Type': files[path][0] }).end(files[path][1]);
  } else {
    res.writeHead(404).end();
  }
}

const route = (req, res) => handle(req, res).catch(() => res.destroy());
// Browsers speak HTTP/2 only with TLS, and open six streams at most without it.
const tls = TLS_KEY && { key: readFileSync(TLS_KEY), cert: readFileSync(TLS_CERT), allowHTTP1: true };
const server = tls ? createSecureServer(tls, route) : createServer(route);
server.listen(PORT, '127.0.0.1', () => console.log(`${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`));
