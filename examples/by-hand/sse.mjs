// What a careful author writes once per project to do without a library: history with ids, resume, data of several lines,
// heartbeats, clients that leave, clients that do not read. Measured against the examples; see ../README.md.
// It still loses everything with the process, tells no gap to who falls out of history while reading, and pays for each reader in the
// event loop.

const HISTORY = 1024;
const UNREAD_BYTES = 1 << 20;

export class Stream {
  #epoch = Date.now().toString(36);
  #next = 1;
  #history = [];
  #clients = new Set();

  constructor({ retry = 2000 } = {}) {
    this.retry = retry;
    setInterval(() => this.#clients.forEach((client) => client.res.write(':\n\n')), 15_000).unref();
  }

  publish(topic, data, { event = 'message', except, retry } = {}) {
    const id = `${this.#epoch}-${this.#next++}`;
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    const lines = [`event: ${event}`, ...text.split(/\r\n|\r|\n/).map((line) => `data: ${line}`)];
    if (retry) lines.push(`retry: ${retry}`);
    const entry = { id, topic, except, frame: `${lines.join('\n')}\nid: ${id}\n\n` };
    this.#history.push(entry);
    if (this.#history.length > HISTORY) this.#history.shift();
    for (const client of this.#clients) this.#send(client, entry);
    return id;
  }

  accept(req, res, { topics, client: name, replay = 0, left = () => {} }) {
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' });
    res.write(`retry: ${this.retry}\n\n`);
    const client = { res, topics: [topics].flat(), name };
    const last = req.headers['last-event-id'];
    let entries = this.#history.filter(({ topic }) => client.topics.includes(topic));
    if (last) {
      const at = this.#history.findIndex(({ id }) => id === last);
      if (at < 0) res.write(`event: fanfare.gap\ndata: ${JSON.stringify({ requested: last })}\n\n`);
      else entries = entries.filter((entry) => this.#history.indexOf(entry) > at);
    } else {
      entries = entries.slice(entries.length - Math.min(replay, entries.length));
    }
    for (const entry of entries) this.#send(client, entry);
    this.#clients.add(client);
    res.on('close', () => {
      this.#clients.delete(client);
      left(client);
    });
    return client;
  }

  #send({ res, topics, name }, { topic, except, frame }) {
    if (!topics.includes(topic) || (except !== undefined && except === name)) return;
    if (res.writableLength > UNREAD_BYTES) res.destroy();
    else res.write(frame);
  }
}
