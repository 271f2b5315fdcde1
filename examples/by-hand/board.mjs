import { join } from 'node:path';
import express from 'express';
import { Stream } from './sse.mjs';

const { PORT = 3000, ALLOWED_ORIGIN = 'https://app.example' } = process.env;
const hub = new Stream({ retry: 1000 });
const app = express();
app.use(express.static(join(import.meta.dirname, '../board/public')), express.static(join(import.meta.dirname, '../shared')));

app.use((req, res, next) => {
  res.set({ 'Access-Control-Allow-Origin': ALLOWED_ORIGIN, 'Access-Control-Allow-Headers': 'Content-Type', Vary: 'Origin' });
  if (req.method === 'OPTIONS') res.sendStatus(204);
  else next();
});

const isName = (id) => typeof id === 'string' && id !== '';

app.get('/messages', (req, res) => {
  if (!isName(req.query.id)) return res.status(400).json({ error: 'id has to be a name' });
  hub.accept(req, res, { topics: 'board', client: req.query.id, replay: Infinity });
});

app.post('/message', express.json(), (req, res) => {
  const text = req.body?.text;
  if (typeof text !== 'string' || !text.trim()) return res.status(400).json({ error: 'a message needs a text' });
  if (!isName(req.query.id)) return res.status(400).json({ error: 'id has to be a name' });
  res.json({ id: hub.publish('board', { text, at: new Date() }, { except: req.query.id }) });
});

app.use((error, req, res, next) => {
  res.status(error.statusCode ?? 500).json({ error: error.message });
});

const server = app.listen(PORT, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
