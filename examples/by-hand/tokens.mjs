import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import express from 'express';
import { generate } from '../tokens/generator.mjs';
import { Stream } from './sse.mjs';

const KEPT_MS = 3_600_000;
const hub = new Stream({ retry: 500 });
const answers = new Set();
const app = express();
app.use(express.static(join(import.meta.dirname, '../tokens/public')), express.static(join(import.meta.dirname, '../shared')));

async function write(id, prompt) {
  const topic = `answers/${id}`;
  for await (const token of generate(prompt)) hub.publish(topic, token);
  hub.publish(topic, '', { event: 'done' });
  hub.close(topic);
  setTimeout(() => answers.delete(id), KEPT_MS).unref();
}

app.post('/answers', express.json(), (req, res) => {
  const prompt = req.body?.prompt;
  if (typeof prompt !== 'string' || prompt.length > 200) return res.status(400).json({ error: 'a prompt has up to 200 characters' });
  const id = randomUUID();
  answers.add(id);
  write(id, prompt);
  res.status(201).json({ id });
});

app.get('/answers/:id', (req, res) => {
  if (!answers.has(req.params.id)) return res.sendStatus(404);
  hub.accept(req, res, { topics: `answers/${req.params.id}`, replay: Infinity });
});

const server = app.listen(process.env.PORT ?? 3000, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
