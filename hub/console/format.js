// Numbers, sizes, durations and error sentences as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 });

/** A count: every digit below a million, three significant ones above. */
export function count(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return value < 1e6 ? whole.format(value) : compact.format(value);
}

/** A rate per second: one decimal while it is small enough to matter. */
export function rate(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return value > 0 && value < 10 ? tenths.format(value) : count(value);
}

/** Bytes as `[number, unit]` with binary units. */
export function bytes(value) {
  if (value === null || value === undefined) return ['–', ''];
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return [scaled < 10 && unit > 0 ? tenths.format(scaled) : whole.format(scaled), units[unit]];
}

/** A short time, given in microseconds: `0.8 µs`, `12 µs`, `1.5 ms`. */
export function micros(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  const [scaled, unit] = value < 1000 ? [value, 'µs'] : [value / 1000, 'ms'];
  return `${scaled < 10 ? tenths.format(scaled) : whole.format(scaled)} ${unit}`;
}

/** A span of milliseconds in its two largest units: `3 d 4 h`, `12 min 5 s`, `8 s`. */
export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([amount, unit]) => `${amount} ${unit}`).join(' ');
}

/** Local wall-clock time of a Date with milliseconds: `14:03:07.120`. */
export function clock(date) {
  const two = (value) => String(value).padStart(2, '0');
  const ms = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

/** `1 event`, `2 events`. */
export function plural(amount, noun) {
  return `${count(amount)} ${noun}${amount === 1 ? '' : 's'}`;
}

/** First letter up, full stop at the end. */
export function sentence(text) {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  const capital = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

/**
 * What went wrong, from a refused response: `{ text, code, field }`.
 * The hub answers errors as `{"error":{"code","message","field"?}}`; something between the console
 * and the hub may answer anything else, and then the status is all there is to say.
 */
export async function refusal(response) {
  let error;
  try {
    error = (await response.json()).error;
  } catch {
    error = undefined;
  }
  if (typeof error?.message === 'string' && error.message !== '') {
    return { text: sentence(error.message), code: error.code ?? '', field: error.field ?? '' };
  }
  return { text: `The hub answered with status ${response.status}.`, code: '', field: '' };
}
