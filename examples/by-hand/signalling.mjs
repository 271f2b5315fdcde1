import { createHash } from 'node:crypto';
import { join } from 'node:path';
import express from 'express';
import { Stream } from './sse.mjs';

const hub = new Stream({ retry: 1000 });
const app = express();
app.use(express.static(join(import.meta.dirname, '../signalling/public')), express.static(join(import.meta.dirname, '../shared')), express.json());

// A page makes up a key for itself; others know it by a name that does not give the key away.
const nameOf = (key) => createHash('sha256').update(String(key)).digest('hex').slice(0, 12);

const streams = new Set();
const present = () => [...new Set([...streams].map(({ name }) => name))];
const tell = () => hub.publish('presence', present(), { event: 'peers' });

app.get('/events', (req, res) => {
  const me = nameOf(req.query.key);
  const greeting = { event: 'notice', data: { text: `Welcome, ${me}`, you: me, at: new Date() } };
  const left = (stream) => { streams.delete(stream); tell(); };
  streams.add(hub.accept(req, res, { topics: ['chat', 'presence', `to/${me}`], client: me, replay: Infinity, greeting, left }));
  tell();
});

app.post('/messages', (req, res) => {
  const { key, text } = req.body ?? {};
  if (!text || typeof text !== 'string') return res.status(400).json({ error: 'a message needs a text' });
  res.json({ id: hub.publish('chat', { from: nameOf(key), text, at: new Date() }, { event: 'update' }) });
});

// Offers, answers and candidates: for one peer only.
app.post('/peers/:name', (req, res) => {
  const { key, signal } = req.body ?? {};
  if (!present().includes(req.params.name)) return res.status(404).json({ error: 'this peer is not here' });
  res.json({ id: hub.publish(`to/${req.params.name}`, { from: nameOf(key), signal }, { event: 'signal' }) });
});

const server = app.listen(process.env.PORT ?? 3000, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
