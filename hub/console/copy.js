// A line of text with a button that copies it and says so.

import { byId, element } from './dom.js';

const SAID_MS = 1800;

/** A `<code>` and its copy button; `name` completes “Copy … line” for screen readers. */
export function copyable(text, name) {
  const code = element('code', { textContent: text, tabIndex: 0 });
  const button = element('button', { type: 'button', className: 'small copy', textContent: 'Copy' });
  button.setAttribute('aria-label', `Copy the ${name} line`);
  let timer;
  button.addEventListener('click', async () => {
    const done = await copyText(code);
    button.textContent = done ? 'Copied' : 'Select it';
    byId('copy-announce').textContent = done ? `The ${name} line is copied.` : `The ${name} line is selected, copy it by hand.`;
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.textContent = 'Copy';
      byId('copy-announce').textContent = '';
    }, SAID_MS);
  });
  return { code, button };
}

/** The clipboard API exists only on secure origins; elsewhere the old selection command serves. */
async function copyText(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand('copy');
  }
}
