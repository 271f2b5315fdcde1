// The same as ../js/enrich.js, in the words of the contract, for a component that brings its own engine.
export function transform({ topic, data }) {
  let object;
  try {
    object = JSON.parse(data);
  } catch {
    // Told below.
  }
  if (object === null || typeof object !== 'object' || Array.isArray(object)) {
    return { tag: 'reject', val: 'not a JSON object' };
  }
  return { tag: 'replace', val: JSON.stringify({ ...object, via: topic }) };
}
