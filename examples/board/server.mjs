import { join } from 'node:path';
import express from 'express';
import { Fanfare, FanfareError } from 'fanfare';

const { PORT = 3000, ALLOWED_ORIGIN = 'https://app.example' } = process.env;
const hub = await Fanfare.start({ listen: '127.0.0.1:0', retry: '1s', 'history.age': 0 });
const app = express();
app.use(express.static(join(import.meta.dirname, 'public')), express.static(join(import.meta.dirname, '../shared')));

app.use((req, res, next) => {
  res.set({ 'Access-Control-Allow-Origin': ALLOWED_ORIGIN, 'Access-Control-Allow-Headers': 'Content-Type', Vary: 'Origin' });
  if (req.method === 'OPTIONS') res.sendStatus(204);
  else next();
});

const idOf = (req) => String(req.query.id ?? ''); // the hub refuses what is no name

app.get('/messages', (req, res) => hub.accept(req, res, { topics: 'board', client: idOf(req), replay: 'all' }));

app.post('/message', express.json(), (req, res) => {
  const text = req.body?.text;
  if (typeof text !== 'string' || !text.trim()) return res.status(400).json({ error: 'a message needs a text' });
  res.json({ id: hub.publish('board', { text, at: new Date() }, { except: idOf(req) }) });
});

app.use((error, req, res, next) => {
  const refused = error instanceof FanfareError || error instanceof TypeError;
  res.status(error.statusCode ?? (refused ? 400 : 500)).json({ error: error.message });
});

const server = app.listen(PORT, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
