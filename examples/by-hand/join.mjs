import { join } from 'node:path';
import express from 'express';
import { Stream } from './sse.mjs';

const hub = new Stream();
const app = express();
const folder = join(import.meta.dirname, '../join');
app.use(express.static(join(folder, 'public')), express.static(join(folder, '../shared')));

app.post('/join', express.json(), (req, res) => {
  const said = { name: String(req.body?.name || 'Somebody').slice(0, 40), at: new Date() };
  res.json({ id: hub.publish('joins', said, { event: 'join', retry: 3000 }) });
});

app.get('/events', (req, res) => {
  if (!/^[\w-]{1,40}$/.test(String(req.query.client ?? ''))) {
    res.status(400).json({ error: 'client has to be an id' });
    return;
  }
  const me = `clients/${req.query.client}`;
  hub.publish(me, { after: req.get('last-event-id') ?? null }, { event: 'caught-up' });
  hub.accept(req, res, { topics: ['joins', me], replay: Infinity });
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
