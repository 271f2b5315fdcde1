// What a careful author writes once per project to do without a library: history with ids, resume, data of several lines,
// heartbeats, clients that leave, clients that do not read, topics that end. Measured against the examples; see ../README.md.

const HISTORY = 1024;
const UNREAD_BYTES = 1 << 20;

export class Stream {
  #epoch = Date.now().toString(36);
  #next = 1;
  #history = [];
  #closed = new Set();
  #clients = new Set();

  constructor({ retry = 2000, heartbeatMs = 15_000, heartbeat = ':\n\n' } = {}) {
    this.retry = retry;
    setInterval(() => this.#clients.forEach(({ res }) => res.write(heartbeat)), heartbeatMs).unref();
  }

  publish(topic, data, { event = 'message', except, retry } = {}) {
    const number = this.#next++;
    const id = `${this.#epoch}-${number}`;
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    const lines = [`event: ${event}`, ...text.split(/\r\n|\r|\n/).map((line) => `data: ${line}`)];
    if (retry) lines.push(`retry: ${retry}`);
    const entry = { number, topic, except, frame: `${lines.join('\n')}\nid: ${id}\n\n` };
    this.#history.push(entry);
    if (this.#history.length > HISTORY) this.#history.shift();
    for (const client of this.#clients) if (this.#wants(client, entry)) this.#send(client, entry);
    return id;
  }

  close(topic) {
    this.#closed.add(topic);
    for (const client of this.#clients) if (this.#isOver(client)) client.res.end();
  }

  accept(req, res, { topics, client: name, replay = 0, greeting, left = () => {} }) {
    const client = { res, topics: [topics].flat(), name };
    const last = req.headers['last-event-id'] ?? new URLSearchParams(req.url.split('?')[1]).get('last_event_id');
    const [epoch, number] = last?.split('-') ?? [];
    const resumes = epoch === this.#epoch && Number(number) >= (this.#history[0]?.number ?? 1) - 1 && Number(number) < this.#next;
    let entries = this.#history.filter((entry) => this.#wants(client, entry));
    if (resumes) entries = entries.filter((entry) => entry.number > Number(number));
    else if (!last) entries = entries.slice(entries.length - Math.min(replay, entries.length));
    if (this.#isOver(client) && resumes && entries.length === 0) return void res.writeHead(204).end();
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' });
    res.write(`retry: ${this.retry}\n\n`);
    if (greeting) res.write(`event: ${greeting.event}\ndata: ${JSON.stringify(greeting.data)}\n\n`);
    if (last && !resumes) res.write(`event: fanfare.gap\ndata: ${JSON.stringify({ requested: last })}\n\n`);
    for (const entry of entries) this.#send(client, entry);
    if (this.#isOver(client)) return void res.end();
    this.#clients.add(client);
    res.on('close', () => {
      this.#clients.delete(client);
      left(client);
    });
    return client;
  }

  #isOver({ topics }) {
    return topics.every((topic) => this.#closed.has(topic));
  }

  #wants({ topics, name }, { topic, except }) {
    return topics.includes(topic) && (except === undefined || except !== name);
  }

  #send({ res }, { frame }) {
    if (res.writableLength > UNREAD_BYTES) res.destroy();
    else res.write(frame);
  }
}
