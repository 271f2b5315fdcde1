import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import express from 'express';
import { Fanfare } from 'fanfare';

const { PORT = 3000, VOTES = 'votes.json' } = process.env;
const tally = existsSync(VOTES) ? JSON.parse(readFileSync(VOTES, 'utf8')) : { Tea: 0, Coffee: 0, Water: 0 };
const hub = await Fanfare.start({ listen: '127.0.0.1:0', retry: '500ms', 'retry.jitter': '200ms', heartbeat: '2s', 'heartbeat.event': true });
hub.publish('tally', tally, { event: 'tally' });

const app = express();
app.use(express.static(join(import.meta.dirname, 'public')), express.static(join(import.meta.dirname, '../shared')));

app.get('/results', (req, res) => hub.accept(req, res, { topics: 'tally', replay: 1 }));

app.post('/vote', express.json(), (req, res) => {
  const choice = req.body?.choice;
  if (!Object.hasOwn(tally, String(choice))) return res.status(400).json({ error: `vote for one of ${Object.keys(tally).join(', ')}` });
  tally[choice] += 1;
  writeFileSync(`${VOTES}.new`, JSON.stringify(tally));
  renameSync(`${VOTES}.new`, VOTES);
  hub.publish('tally', tally, { event: 'tally' });
  res.json({ choice });
});

const server = app.listen(PORT, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
