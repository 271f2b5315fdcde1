import { join } from 'node:path';
import express from 'express';
import { Fanfare } from 'fanfare';

interface Join {
  name: string;
  at: Date;
}

const hub = await Fanfare.start({
  listen: '127.0.0.1:0', data: process.env.DATA ?? 'data', 'history.durability': 'always', 'history.age': 0,
});
const app = express();
const folder = join(import.meta.dirname, '..');
app.use(express.static(join(folder, 'public')), express.static(join(folder, '../shared')));

// The id of its event is the id of who joins: short, and never given again, also by the next run of this server.
app.post('/join', express.json(), (req, res) => {
  const said: Join = { name: String(req.body?.name || 'Somebody').slice(0, 40), at: new Date() };
  res.json({ id: hub.publish('joins', said, { event: 'join', retry: 3000 }) });
});

app.get('/events', (req, res) => {
  if (!/^[\w-]{1,40}$/.test(String(req.query.client ?? ''))) {
    res.status(400).json({ error: 'client has to be an id' });
    return;
  }
  const me = `clients/${req.query.client}`;
  // Comes behind what was missed and before what is new.
  hub.publish(me, { after: req.get('last-event-id') ?? null }, { event: 'caught-up' });
  hub.accept(req, res, { topics: ['joins', me], replay: 'all' });
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  const address = server.address();
  if (address && typeof address === 'object') console.log(`http://127.0.0.1:${address.port}`);
});
