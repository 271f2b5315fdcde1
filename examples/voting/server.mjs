import { join } from 'node:path';
import express from 'express';
import { Fanfare } from 'fanfare';

const { PORT = 3000, DATA = 'data' } = process.env;
const hub = await Fanfare.start({
  listen: '127.0.0.1:0', data: DATA, 'history.durability': 'always', 'history.age': 0,
  retry: '500ms', 'retry.jitter': '200ms', heartbeat: '2s', 'heartbeat.event': true,
});

// The last tally of the topic is as it was, however the last run ended; some runs may have ended right here.
const tally = { Tea: 0, Coffee: 0, Water: 0 };
const now = hub.publish('tally', {}, { event: 'started' });
for await (const event of hub.subscribe('tally', { replay: 100 })) {
  if (event.id === now) break;
  Object.assign(tally, event.json());
}
const tell = () => hub.publish('tally', tally, { event: 'tally' });
tell();

const app = express();
app.use(express.static(join(import.meta.dirname, 'public')), express.static(join(import.meta.dirname, '../shared')));

app.get('/results', (req, res) => hub.accept(req, res, { topics: 'tally', replay: 1 }));

app.post('/vote', express.json(), (req, res) => {
  const choice = req.body?.choice;
  if (!Object.hasOwn(tally, String(choice))) return res.status(400).json({ error: `vote for one of ${Object.keys(tally).join(', ')}` });
  tally[choice] += 1;
  tell();
  res.json({ choice });
});

const server = app.listen(PORT, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
