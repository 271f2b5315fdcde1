// Options of a hub as the library takes them: names and values in text. The library has the table and judges; this only
// flattens.

'use strict';

const { fileURLToPath } = require('node:url');

const { argument } = require('./errors.cjs');

// Deeper than any option's name; an object that contains itself ends here.
const MAX_DEPTH = 8;

/** `{ history: { events: 10 } }` as `['history.events', '10']`. */
function flatten(options) {
  const pairs = [];
  const visit = (value, name, depth) => {
    switch (typeof value) {
      case 'undefined':
        return;
      case 'string':
        pairs.push(name, value);
        return;
      case 'number':
      case 'boolean':
      case 'bigint':
        pairs.push(name, String(value));
        return;
      case 'object':
        if (value === null) return;
        if (Array.isArray(value)) pairs.push(name, list(value, name));
        else if (value instanceof URL) pairs.push(name, value.protocol === 'file:' ? fileURLToPath(value) : value.href);
        else if (depth === MAX_DEPTH) throw argument(`option "${name}": nested too deeply`);
        else for (const [key, inner] of Object.entries(value)) visit(inner, name ? `${name}.${key}` : key, depth + 1);
        return;
      default:
        throw argument(`option "${name}" cannot be a ${typeof value}`);
    }
  };
  visit(options, '', 0);
  return pairs;
}

function list(values, name) {
  return values.map((value) => {
    if (typeof value === 'object' || typeof value === 'function') throw argument(`option "${name}": a list of texts`);
    const text = String(value);
    // The library separates by commas.
    if (text.includes(',')) throw argument(`option "${name}": "${text}" holds a comma`);
    return text;
  }).join(',');
}

/** `handlers`, if they are given by topic, as the list that the library takes. */
function listHandlers(options) {
  const { handlers } = options;
  if (handlers === null || typeof handlers !== 'object' || Array.isArray(handlers)) return options;
  const entries = Object.entries(handlers).map(([topics, file]) => {
    if (typeof file !== 'string' && !(file instanceof URL)) throw argument(`handlers: "${topics}" needs the path of a file`);
    return `${topics}=${file instanceof URL ? fileURLToPath(file) : file}`;
  });
  return { ...options, handlers: entries };
}

/** `config`: the path of a TOML file, or `{ toml: TEXT }`. */
function configuration(config) {
  if (config === undefined || config === null) return {};
  if (config instanceof URL) return { file: fileURLToPath(config) };
  if (typeof config === 'string') return { file: config };
  if (typeof config.toml === 'string') return { toml: config.toml };
  throw argument('config has to be the path of a TOML file, or { toml: text }');
}

module.exports = { configuration, flatten, listHandlers };
