// A peer for the load bench: better-sse's channel, as its documentation shows it with Express.
//
// GET /events/bench is a stream, POST /events/bench sends each line of its body as one event.

import { createChannel, createSession } from 'better-sse';
import express from 'express';

const app = express();
const channel = createChannel();
let id = 0;

app.get('/events/bench', async (req, res) => {
  // Data goes out as it came, like the other peers'; the opening `retry` block would be counted as an event.
  const session = await createSession(req, res, { retry: null, serializer: String });
  channel.register(session);
});

app.post('/events/bench', express.text({ type: '*/*', limit: '64mb' }), (req, res) => {
  for (const line of req.body.split('\n')) {
    if (line !== '') channel.broadcast(line, 'message', { eventId: String((id += 1)) });
  }
  res.json({ id });
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
