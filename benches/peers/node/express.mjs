// A peer for the load bench: what an Express application writes by hand, an array of responses and a loop.
//
// GET /events/bench is a stream, POST /events/bench sends each line of its body as one event.

import express from 'express';

const app = express();
const clients = new Set();
let id = 0;

app.get('/events/bench', (req, res) => {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache', Connection: 'keep-alive' });
  res.flushHeaders();
  clients.add(res);
  req.on('close', () => clients.delete(res));
});

app.post('/events/bench', express.text({ type: '*/*', limit: '64mb' }), (req, res) => {
  for (const line of req.body.split('\n')) {
    if (line === '') continue;
    id += 1;
    const event = `id: ${id}\ndata: ${line}\n\n`;
    clients.forEach((client) => client.write(event));
  }
  res.json({ id });
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
