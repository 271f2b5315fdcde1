// Stands where a language model would: words that follow each other as in a small text, one token at a time.

import { setTimeout as sleep } from 'node:timers/promises';

const TEXT = `An event is published once and kept for a while. A reader is a place in the history, and nothing more. When a reader is
away for a while, the history keeps its place. When it comes back, it goes on from there. Nothing is lost, and nothing comes twice. A slow
reader costs the others nothing. A fast reader sees every event at once. The history is kept in order, and every reader sees the
same order. A page that is loaded again is a reader that was away for a moment. It goes on from there, and the text grows as if
nothing had happened.`.split(/\s+/);

/** Yields about `length` tokens, each a word with the space before it, or the end of a paragraph. */
export async function* generate(prompt, { length = 160, paceMs = 35 } = {}) {
  yield `You asked: “${prompt}”\n\n`;
  let word = 'An';
  let ends = false;
  for (let number = 0; number < length || !ends; number += 1) {
    yield number === 0 ? word : ` ${word}`;
    ends = word.endsWith('.');
    if (ends && Math.random() < 0.2) yield '\n\n';
    const next = TEXT.flatMap((other, at) => (other === word && TEXT[at + 1] ? [TEXT[at + 1]] : []));
    word = next[Math.floor(Math.random() * next.length)] ?? 'The';
    await sleep(paceMs * (0.5 + Math.random()));
  }
}
