// Runs contract scenarios (`bindings/contract/README.md`) with this binding: `node contract.mjs FILE...`

import { readFileSync } from 'node:fs';

import { Fanfare, FanfareError } from 'fanfare';

/** A wait that takes longer hangs. */
const PATIENCE_MS = 10_000;
/** Longer than any value has to be. */
const MAX_VALUE_BYTES = 1 << 24;

/** The scenario fails here. */
class Wrong extends Error {}

/** The bytes of a word. */
function value(word) {
  let times = 1;
  const repeated = /^\*(\d{1,7}):/.exec(word);
  if (repeated) {
    times = Number(repeated[1]);
    word = word.slice(repeated[0].length);
  }
  const bytes = Buffer.from(word.replace(/[^]/gu, (character) => (character.codePointAt(0) > 0x7e ? encodeURIComponent(character)
    : character)).replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1');
  if (bytes.length * times > MAX_VALUE_BYTES) throw new Wrong(`a value of ${bytes.length * times} bytes`);
  return Buffer.concat(Array(times).fill(bytes));
}

/** Text; for what is no UTF-8 the nearest thing that a user could pass, which is half a surrogate pair. */
function text(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `${bytes.toString('latin1')}\udcff`;
  }
}

/** Fields and bare words of a command; what nobody asks for is an error. */
class Words {
  constructor(words) {
    this.bare = words.filter((word) => !/^[a-z_]+=/.test(word));
    const fields = words.filter((word) => /^[a-z_]+=/.test(word));
    this.fields = new Map(fields.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
    if (this.fields.size !== fields.length) throw new Wrong('a field is given twice');
  }

  word() {
    if (this.bare.length === 0) throw new Wrong('a word is missing');
    return text(value(this.bare.shift()));
  }

  number() {
    const word = this.word();
    if (!/^\d+$/.test(word)) throw new Wrong(`${word} is no number`);
    return Number(word);
  }

  #take(name) {
    const found = this.fields.get(name);
    this.fields.delete(name);
    return found;
  }

  bytes(name) {
    const found = this.#take(name);
    return found === undefined ? undefined : value(found);
  }

  text(name) {
    const found = this.bytes(name);
    return found === undefined ? undefined : text(found);
  }

  list(name) {
    return this.#take(name)?.split(',').map((item) => text(value(item)));
  }

  end() {
    if (this.bare.length > 0 || this.fields.size > 0) {
      throw new Wrong(`not understood: ${[...this.bare, ...this.fields.keys()].join(' ')}`);
    }
  }
}

/** Something that comes within patience. */
function soon(promise, what) {
  let timer;
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Wrong(`${what} did not come`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A subscription, with what it has been asked for and not given yet. */
class Reader {
  ended = null;
  #asked = null;

  constructor(subscription) {
    this.subscription = subscription;
  }

  #ask() {
    this.#asked ??= this.subscription.next().then(({ value: event, done }) => {
      if (done) this.ended = this.subscription.ended;
      return done ? null : event;
    }, (error) => {
      if (!(error instanceof FanfareError)) throw error;
      this.ended = error.code;
      return null;
    });
    return this.#asked;
  }

  /** The next event; null at the end. */
  async next() {
    const event = await soon(this.#ask(), 'an event');
    this.#asked = null;
    return event;
  }

  /** What is there now; undefined for nothing. The loop runs on, so that what has been published can be seen. */
  async now() {
    let found;
    this.#ask().then((event) => { found = event; }, () => {});
    for (let turn = 0; turn < 20 && found === undefined; turn += 1) await new Promise(setImmediate);
    return found;
  }
}

class Scenario {
  config = {};
  hub = null;
  readers = new Map();
  saved = new Map();
  batch = null;

  async line(words) {
    if (words[0] === 'refused') {
      const at = words.indexOf(':');
      await this.#refused(words[1], words.slice(2, at).map((word) => text(value(word))), words.slice(at + 1));
      return;
    }
    const again = words[0] === 'again';
    const done = await this.command(again ? words.slice(1) : words);
    if (done === again) throw new Wrong(again ? 'had something to do' : 'had nothing to do');
  }

  async #refused(code, mentions, words) {
    const error = await this.command(words).then(() => { throw new Wrong(`not refused as ${code}`); }, (reason) => reason);
    if (!(error instanceof FanfareError)) throw error;
    if (error.code !== code) throw new Wrong(`refused as ${error.code}, not ${code}: ${error.message}`);
    for (const mention of mentions) {
      if (!error.message.includes(mention)) throw new Wrong(`the message does not mention ${mention}: ${error.message}`);
    }
  }

  /** True if it did something. */
  async command([name, ...words]) {
    const given = new Words(words);
    if (!Object.hasOwn(COMMANDS, name)) throw new Wrong(`unknown command ${name}`);
    const done = await COMMANDS[name](this, given);
    given.end();
    return done !== false;
  }

  get running() {
    if (!this.hub) throw new Wrong('no hub was started');
    return this.hub;
  }

  reader(name) {
    const reader = this.readers.get(name);
    if (!reader) throw new Wrong(`no subscription ${name}`);
    return reader;
  }

  id(name) {
    if (!this.saved.has(name)) throw new Wrong(`nothing was saved as ${name}`);
    return this.saved.get(name);
  }

  async finish() {
    for (const { subscription } of this.readers.values()) await subscription.return();
    await this.hub?.stop({ timeout: 0 });
  }
}

const COMMANDS = {
  config(scenario, given) {
    const key = given.word();
    const option = { [key]: given.bare.length > 0 ? given.word() : '' };
    Fanfare.check(option);
    Object.assign(scenario.config, option);
  },
  async start(scenario) {
    scenario.hub = await Fanfare.start({ listen: '127.0.0.1:0', console: 'false', log: 'error', ...scenario.config });
  },
  publish(scenario, given) {
    publish(scenario, given, given.bytes('data'));
  },
  repeat(scenario, given) {
    const times = given.number();
    if (given.word() !== 'publish') throw new Wrong('only `publish` is repeated');
    const { bare, fields } = given;
    for (let number = 1; number <= times; number += 1) {
      [given.bare, given.fields] = [[...bare], new Map(fields)];
      publish(scenario, given, String(number));
    }
  },
  batch(scenario) {
    scenario.batch = [];
  },
  commit(scenario) {
    const { batch } = scenario;
    scenario.batch = null;
    if (!batch) throw new Wrong('commit without batch');
    const ids = scenario.running.publishBatch(batch.map(({ event }) => event));
    if (ids.length !== batch.length) throw new Wrong('not an id for each event');
    batch.forEach(({ save }, index) => save !== undefined && scenario.saved.set(save, ids[index]));
  },
  subscribe(scenario, given) {
    const [name, saved, replay] = [given.word(), given.text('since_saved'), given.text('replay')];
    const since = given.text('since');
    scenario.readers.set(name, new Reader(scenario.running.subscribe(given.list('topics') ?? [], {
      since: saved === undefined ? since : scenario.id(saved),
      replay: replay !== undefined && /^\d+$/.test(replay) ? Number(replay) : replay,
      client: given.text('client'),
      events: given.list('events'),
      lag: given.text('lag'),
    })));
  },
  load(scenario, given) {
    const [topics, file, name] = [given.text('topics'), given.text('file'), given.text('name')];
    const settings = given.text('settings');
    return scenario.running.loadHandler(topics, file ?? given.bytes('bytes'), { name, settings }).then(() => {});
  },
  unload: (scenario, given) => scenario.running.unloadHandler(given.word()),
  handlers(scenario, given) {
    const names = given.bare.splice(0).map((word) => text(value(word)));
    const found = scenario.running.handlers().map(({ name }) => name);
    if (found.join() !== names.join()) throw new Wrong(`there are ${found}`);
  },
  handler(scenario, given) {
    const name = given.word();
    const found = scenario.running.handlers().find((handler) => handler.name === name);
    if (!found) throw new Wrong(`no handler ${name}`);
    for (const [key, expected] of given.fields) {
      if (found[key] !== Number(expected)) throw new Wrong(`${key} is ${found[key]}, not ${expected}`);
    }
    given.fields.clear();
  },
  add: (scenario, given) => scenario.reader(given.word()).subscription.add(given.word()),
  remove: (scenario, given) => scenario.reader(given.word()).subscription.remove(given.word()),
  async unsubscribe(scenario, given) {
    const { subscription } = scenario.reader(given.word());
    // As everywhere in JavaScript, returning twice is fine; that it is over is what `add` says.
    if (subscription.ended !== null) subscription.add('t');
    await subscription.return();
  },
  close: (scenario, given) => scenario.running.closeTopic(given.word()),
  delete: (scenario, given) => scenario.running.deleteHistory(given.word()),
  async stop(scenario) {
    await scenario.running.stop({ timeout: 0 });
  },
  stats(scenario, given) {
    const stats = scenario.running.stats();
    for (const [key, expected] of given.fields) {
      const found = stats[key.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
      if (found !== Number(expected)) throw new Wrong(`${key} is ${found}, not ${expected}`);
    }
    given.fields.clear();
  },
  async expect(scenario, given) {
    const [reader, what] = [scenario.reader(given.word()), given.word()];
    if (!Object.hasOwn(EXPECTED, what)) throw new Wrong(`expect ${what}`);
    await EXPECTED[what](scenario, given, reader);
  },
  async count(scenario, given) {
    const [reader, count] = [scenario.reader(given.word()), given.number()];
    for (let number = 1; number <= count; number += 1) {
      const event = await reader.next();
      if (event?.data !== String(number)) throw new Wrong(`not ${number}: ${event?.data ?? reader.ended}`);
    }
  },
};

const EXPECTED = {
  async nothing(scenario, given, reader) {
    const found = await reader.now();
    if (found !== undefined && !(found === null && reader.ended === 'stale_handle')) {
      throw new Wrong(`there is ${JSON.stringify(found ?? reader.ended)}`);
    }
  },
  async end(scenario, given, reader) {
    const code = given.word();
    const found = await reader.next();
    if (found !== null || reader.ended !== code) throw new Wrong(`not the end by ${code}: ${found?.data ?? reader.ended}`);
    if (!(await reader.subscription.next()).done) throw new Wrong('something comes after the end');
  },
  async gap(scenario, given, reader) {
    const [found, requested] = [await reader.next(), given.text('requested')];
    const keys = found?.gap ? Object.keys(found.gap).sort().join() : '';
    if (keys !== 'newest,oldest,requested') throw new Wrong(`not a gap: ${found?.event ?? reader.ended} ${keys}`);
    if (requested !== undefined && found.gap.requested !== requested) throw new Wrong(`requested is ${found.gap.requested}`);
  },
  async event(scenario, given, reader) {
    const wanted = { data: given.text('data') ?? '', event: given.text('event') ?? 'message' };
    const [topic, id, saved] = [given.text('topic'), given.text('id'), given.text('id_saved')];
    if (topic !== undefined) wanted.topic = topic;
    if (id !== undefined) wanted.id = id;
    if (saved !== undefined) wanted.id = scenario.id(saved);
    const event = await reader.next();
    if (event === null) throw new Wrong(`it has ended: ${reader.ended}`);
    for (const [field, expected] of Object.entries(wanted)) {
      if (event[field] !== expected) throw new Wrong(`${field} is ${event[field].slice(0, 80)}, not ${expected.slice(0, 80)}`);
    }
  },
};

function publish(scenario, given, data) {
  const retry = given.text('retry');
  const topic = given.text('topic');
  if (topic === undefined) throw new Wrong('no topic');
  const options = { retry: retry === undefined ? undefined : Number(retry) };
  for (const name of ['event', 'id', 'except', 'key']) options[name] = given.text(name);
  const save = given.text('save');
  given.end();
  if (scenario.batch) {
    scenario.batch.push({ event: { topic, data, ...options }, save });
    return;
  }
  const id = scenario.running.publish(topic, data, options);
  if (save !== undefined) scenario.saved.set(save, id);
}

/** Runs a file; how many scenarios passed and failed. */
async function run(file) {
  const results = { passed: 0, failed: 0 };
  let [name, scenario, wrong] = ['', null, ''];
  const report = async () => {
    if (!scenario) return;
    await scenario.finish().catch((error) => { wrong ||= `${file}: at the end: ${error}`; });
    console.log(wrong ? `FAIL ${name}: ${wrong}` : `ok ${name}`);
    results[wrong ? 'failed' : 'passed'] += 1;
  };
  for (const [index, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const words = line.split(' ');
    if (words[0] === 'scenario') {
      await report();
      [name, scenario, wrong] = [words[1], new Scenario(), ''];
    } else if (!scenario) {
      throw new Error(`${file}:${index + 1}: not in a scenario`);
    } else if (!wrong) {
      await scenario.line(words).catch((error) => { wrong = `${file}:${index + 1}: ${error instanceof Wrong ? error.message : error}`; });
    }
  }
  await report();
  return results;
}

let [passed, failed] = [0, 0];
for (const file of process.argv.slice(2)) {
  const results = await run(file);
  passed += results.passed;
  failed += results.failed;
}
process.exitCode = passed > 0 && failed === 0 ? 0 : 1;
