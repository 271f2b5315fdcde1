// Drops what is of a type that the operator does not want: handler.config = ["drop=debug trace"], read once.
import { config } from 'fanfare:handler';

const listed = config.get('drop');
if (listed === undefined) throw new Error('set handler.config to ["drop=KIND .."]');
const unwanted = new Set(listed.split(' '));

export const transform = (event) => !unwanted.has(event.kind);
