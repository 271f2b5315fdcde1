// The two DOM helpers every panel uses. Text always enters the page as text, never as markup.

/** The element with this id; it is part of index.html, so its absence is a bug worth an exception. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found;
}

/** Creates an element: `properties` are set on it, `children` are nodes or strings. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Writes `text` only when it differs, so that an unchanged figure costs no layout. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
