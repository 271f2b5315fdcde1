// Topic names to URLs, to text fields and to shell words, and back.
//
// A topic is any text of 1 to 255 bytes without control characters, so commas, quotes, slashes,
// spaces and dots all occur. Each direction here is exact: what is written is what is read back.

/** True for the two path segments that URL parsers remove instead of sending. */
const isDots = (segment) => segment === '.' || segment === '..';

/**
 * The path of a topic, `/events/a/b%20c`. Slashes stay readable unless a neighbour is a dot
 * segment. Throws a TypeError with a sentence for people when no URL can carry the name.
 */
export function topicPath(topic) {
  if (topic === '') throw new TypeError('Name a topic.');
  if (isDots(topic)) throw new TypeError(`No URL can carry the topic name “${topic}”.`);
  if (!topic.isWellFormed()) throw new TypeError('The topic name is not valid Unicode.');
  const segments = topic.split('/');
  return `/events/${segments.map(encodeURIComponent).join(segments.some(isDots) ? '%2F' : '/')}`;
}

/** `?a=1&b=2` from pairs; those with an empty value are left out, as the hub counts them absent. */
export function query(pairs) {
  const kept = pairs.filter(([, value]) => value !== '' && value !== undefined);
  // Not URLSearchParams: it writes a space as `+`, which only form decoders read back as one.
  return kept.length === 0 ? '' : `?${kept.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;
}

/** Topics from a text field: commas separate, `"…"` protects (`""` is a quote), blanks around are dropped. */
export function parseTopics(text) {
  const topics = [];
  const item = /\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|$)/gy;
  while (item.lastIndex < text.length) {
    const start = item.lastIndex;
    const match = item.exec(text);
    if (!match) {
      // A quote that never closes: the rest is one name, as typed.
      topics.push(text.slice(start).trim());
      break;
    }
    const name = match[1] === undefined ? match[2].trim() : match[1].replaceAll('""', '"');
    if (name !== '') topics.push(name);
  }
  return [...new Set(topics)];
}

/** The reverse of `parseTopics`. */
export function printTopics(topics) {
  const needsQuotes = (name) => /[,"]/.test(name) || name !== name.trim();
  return topics.map((name) => (needsQuotes(name) ? `"${name.replaceAll('"', '""')}"` : name)).join(', ');
}

/** One word of a POSIX shell: bare when every character is inert, otherwise in single quotes. */
export function shellWord(text) {
  return /^[A-Za-z0-9_@%+:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * The lines to copy for a topic: `[{ label, text }]`. `draft` carries what the publish form holds,
 * so that the shown `curl` does what its button does. Topics that no URL can carry give no lines.
 */
export function snippets(origin, topic, draft) {
  let path;
  try {
    path = topicPath(topic);
  } catch {
    return [];
  }
  const url = origin + path;
  const data = draft.data === '' ? 'hello' : draft.data;
  // curl reads a file for `-d @name`; --data-raw takes the text as it is.
  const flag = data.startsWith('@') ? '--data-raw' : '-d';
  const target = url + query([['event', draft.event], ['id', draft.id]]);
  return [
    { label: 'Follow', text: `curl -N ${shellWord(url)}` },
    { label: 'Publish', text: `curl ${flag} ${shellWord(data)} ${shellWord(target)}` },
    { label: 'Replay', text: `curl -N ${shellWord(`${url}?replay=all`)}` },
    { label: 'In a page', text: `new EventSource(${JSON.stringify(url)})` },
  ];
}
