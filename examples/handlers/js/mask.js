// Hides the words of the configuration, handler.config = ["words=darn heck"], in whatever case they come.
import { config } from 'fanfare:handler';

const words = (config.get('words') ?? '').split(' ').filter(Boolean);
const escaped = words.map((word) => word.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
const unwanted = words.length ? new RegExp(escaped.join('|'), 'giu') : undefined;

export function transform({ data }) {
  const masked = unwanted ? data.replace(unwanted, (word) => '*'.repeat(word.length)) : data;
  // Unchanged: nothing has to be copied back.
  if (masked !== data) return masked;
}
