// A field more in every JSON object: the topic it went through. What is no object is refused.
export function transform({ topic, data }) {
  let object;
  try {
    object = JSON.parse(data);
  } catch {
    // Told below.
  }
  if (object === null || typeof object !== 'object' || Array.isArray(object)) return { reject: 'not a JSON object' };
  return JSON.stringify({ ...object, via: topic });
}
