// The console: polls the hub, follows topics, publishes, shows the lines to copy.
//
// Each panel is one module that knows its part of index.html and nothing of the others; this file
// is the only one that knows them all. State that panels share is here: the topics being followed
// and the selected topic.

import { parseTopics, printTopics, snippets } from './address.js';
import { copyable } from './copy.js';
import { byId, element, setText } from './dom.js';
import { EventList } from './events.js';
import { bytes, count, duration, plural, rate } from './format.js';
import { HandlerTable } from './handlers.js';
import { Plot } from './plot.js';
import { PublishForm } from './publish.js';
import { StatsPoller } from './stats.js';
import { Stream } from './stream.js';
import { TopicTable } from './topics.js';

const STATE_NAMES = { connecting: 'Connecting…', connected: 'Connected', reconnecting: 'Reconnecting…', disconnected: 'Disconnected' };

let followed = [];
let stream;
let streamState = 'idle';

const plot = new Plot();
const events = new EventList();
const publishForm = new PublishForm({ onChange: showSnippets, onPublished: () => poller.now() });
const handlers = new HandlerTable();
const table = new TopicTable({ onChoose: chooseTopic, emptyHint: noTopicsHint });

// ---- header and figures

function showState(state, { away = 0, wait = 0, reason = '' }) {
  byId('hub-state').dataset.state = state;
  setText(byId('hub-state-text'), STATE_NAMES[state]);
  document.body.classList.toggle('stale', state === 'reconnecting' || state === 'disconnected');
  const toast = byId('away');
  toast.hidden = state !== 'disconnected';
  if (!toast.hidden) {
    const next = wait < 1000 ? 'Trying again now.' : `Next try in ${duration(wait)}.`;
    setText(byId('away-text'), `${reason} Away for ${duration(away)}. ${next}`);
  }
}

function showStats(stats, rates) {
  setText(byId('version'), stats.version);
  setText(byId('uptime'), duration(stats.uptime_ms));
  setText(byId('fig-published'), rate(rates.published));
  setText(byId('fig-published-total'), `${count(stats.events.published)} in all`);
  setText(byId('fig-delivered'), rate(rates.delivered));
  setText(byId('fig-delivered-total'), `${count(stats.deliveries.frames)} in all`);
  setText(byId('fig-streams'), count(stats.streams.open));
  setText(byId('fig-connections'), `${count(stats.connections.open)} of ${count(stats.connections.limit)} connections`);
  setText(byId('fig-topics'), count(stats.topics.count));
  setText(byId('fig-topics-limit'), `of ${count(stats.topics.limit)}`);
  const [amount, unit] = bytes(stats.history.bytes);
  setText(byId('fig-history'), amount);
  setText(byId('fig-history-unit'), unit);
  setText(byId('fig-history-limit'), `of ${bytes(stats.history.limit_bytes).join(' ')}`);
  byId('fig-history-meter').value = stats.history.limit_bytes > 0 ? stats.history.bytes / stats.history.limit_bytes : 0;
  plot.add(rates.delivered);
  table.update(stats.topics, rates);
  handlers.update(stats.handlers, rates);
}

// ---- theme

const darkSystem = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme ?? (darkSystem.matches ? 'dark' : 'light')) === 'dark';

function nameTheme() {
  byId('theme-toggle').setAttribute('aria-label', isDark() ? 'Switch to the light theme' : 'Switch to the dark theme');
}

function toggleTheme() {
  const theme = isDark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem('fanfare.theme', theme);
  } catch {
    // Storage is refused: the choice lasts until the page is left.
  }
  nameTheme();
}

// ---- following topics

function chooseTopic(name, add) {
  follow(add ? [...new Set([...followed, name])] : [name]);
  publishForm.topic = name;
  showSnippets();
}

/** Starts a subscription to exactly these topics with the options of the form. */
function follow(topics) {
  const replay = replayOption();
  setText(byId('sub-error'), topics.length === 0 ? 'Name at least one topic.' : replay === undefined ? 'Replay the last how many events? Write a number.' : '');
  byId('sub-topics').toggleAttribute('aria-invalid', topics.length === 0);
  byId('sub-count').toggleAttribute('aria-invalid', replay === undefined);
  if (topics.length === 0 || replay === undefined) return byId(topics.length === 0 ? 'sub-topics' : 'sub-count').focus();
  stream?.stop();
  followed = topics;
  byId('sub-topics').value = printTopics(topics);
  byId('sub-stop').disabled = false;
  table.follow(topics);
  events.clear();
  remember();
  stream = new Stream({
    topics,
    replay,
    lag: byId('sub-lag').value,
    onEvent: (event) => events.push(event),
    onState: showStream,
  });
}

function replayOption() {
  const choice = byId('sub-replay').value;
  if (choice !== 'last') return choice;
  const number = byId('sub-count').value.trim();
  return /^[0-9]{1,9}$/.test(number) ? number : undefined;
}

/** Nothing is followed any more: stopped, ended or refused. */
function release(name, text) {
  stream?.stop();
  stream = undefined;
  followed = [];
  table.follow([]);
  remember();
  setStream(name, text);
  byId('sub-stop').disabled = true;
}

function stopFollowing() {
  release('idle', 'Not subscribed');
  byId('sub-topics').focus();
}

function showStream(name, detail) {
  const topics = followed.length > 2 ? plural(followed.length, 'topic') : followed.join(', ');
  if (name === 'connecting') {
    setStream('connecting', detail.resuming ? 'Reconnecting…' : 'Connecting…');
  } else if (name === 'live') {
    if (detail.resumed) events.note(`Connected again, asked for what came after ${detail.resumed}.`);
    setStream('live', `Live: ${topics}`);
  } else if (name === 'waiting') {
    if (streamState === 'live') events.note(`${detail.reason}. ${detail.lastEventId ? `Will resume after ${detail.lastEventId}.` : 'Will connect again.'}`);
    setStream('waiting', 'Reconnecting…');
  } else if (name === 'ended') {
    events.note('The topic is closed and holds nothing more.');
    release('idle', 'Ended: the topic is closed');
  } else {
    setText(byId('sub-error'), detail.text);
    release('refused', 'Refused');
  }
}

function setStream(name, text) {
  streamState = name;
  byId('stream-state').dataset.state = name;
  setText(byId('stream-state-text'), text);
  explainEvents();
}

// ---- empty states

function codeLine(text, name) {
  const { code, button } = copyable(text, name);
  return element('p', { className: 'snippet' }, code, button);
}

function noTopicsHint() {
  const line = snippets(location.origin, 'chat', { data: '', event: '', id: '' }).find(({ label }) => label === 'Publish');
  return [
    element('p', { className: 'empty-title', textContent: 'No topics yet' }),
    element('p', { textContent: 'A topic exists from its first event or subscriber on. Publish one below, or run:' }),
    codeLine(line.text, 'first event'),
  ];
}

function explainEvents() {
  if (followed.length === 0) {
    return events.explain(
      element('p', { className: 'empty-title', textContent: 'Nothing followed yet' }),
      element('p', { textContent: 'Name a topic above, or choose one in the table. It need not exist: the first event creates it.' }),
    );
  }
  const line = snippets(location.origin, followed[0], { data: '', event: '', id: '' }).find(({ label }) => label === 'Publish');
  events.explain(
    element('p', { className: 'empty-title', textContent: streamState === 'live' ? 'Waiting for the first event' : 'No events' }),
    ...(line ? [element('p', { textContent: 'Publish one from this page, or run:' }), codeLine(line.text, 'publish')] : []),
  );
}

// ---- lines to copy

function showSnippets() {
  const draft = publishForm.draft;
  const lines = snippets(location.origin, draft.topic, draft);
  setText(byId('shell-topic'), draft.topic === '' ? '–' : draft.topic);
  byId('snippets').replaceChildren(...lines.map(({ label, text }) => {
    const { code, button } = copyable(text, label.toLowerCase());
    return element('li', { className: 'snippet' }, element('span', { className: 'label', textContent: label }), code, button);
  }));
}

// ---- the address bar remembers what is followed: #topic=a&topic=b

function remember() {
  const hash = followed.map((topic) => `topic=${encodeURIComponent(topic)}`).join('&');
  history.replaceState(null, '', hash === '' ? '/' : `#${hash}`);
}

function remembered() {
  return new URLSearchParams(location.hash.slice(1)).getAll('topic').filter((topic) => topic !== '');
}

// ---- start

nameTheme();
darkSystem.addEventListener('change', nameTheme);
byId('theme-toggle').addEventListener('click', toggleTheme);
byId('away-retry').addEventListener('click', () => poller.now());
byId('sub-stop').addEventListener('click', stopFollowing);
byId('sub-replay').addEventListener('change', () => {
  byId('sub-count').disabled = byId('sub-replay').value !== 'last';
});
byId('subscribe').addEventListener('submit', (event) => {
  event.preventDefault();
  const names = parseTopics(byId('sub-topics').value);
  if (names.length > 0 && !names.includes(publishForm.draft.topic)) publishForm.topic = names[0];
  showSnippets();
  follow(names);
});
showSnippets();
explainEvents();

let lastState = 'connecting';
const poller = new StatsPoller({
  onSample: showStats,
  onState: (state, detail) => {
    showState(state, detail);
    const changed = state !== lastState;
    lastState = state;
    // The hub answers again: no reason to sit out the stream's pause. It has long been silent: a
    // stream that still looks open is not worth believing.
    if (changed && state === 'connected') stream?.hurry();
    if (changed && state === 'disconnected') stream?.renew();
  },
});

const linked = remembered();
if (linked.length > 0) {
  publishForm.topic = linked[0];
  showSnippets();
  follow(linked);
}
