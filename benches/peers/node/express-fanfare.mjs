// The same Express application on Fanfare: its route hands each client's socket to the hub.
//
// GET /events/bench is a stream, POST /events/bench sends each line of its body as one event.

import express from 'express';
import { Fanfare } from 'fanfare';

const app = express();
const hub = await Fanfare.start({ listen: '127.0.0.1:0', console: false });
let id = '';

app.get('/events/bench', (req, res) => hub.accept(req, res, { topics: ['bench'] }));

app.post('/events/bench', express.text({ type: '*/*', limit: '64mb' }), (req, res) => {
  for (const line of req.body.split('\n')) {
    if (line !== '') id = hub.publish('bench', line);
  }
  res.json({ id });
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
