// Orders have an item and a quantity: what has not is refused, with everything that is wrong with it.
const schema = {
  item: (value) => typeof value === 'string' && value !== '' || 'a text',
  quantity: (value) => Number.isInteger(value) && value >= 1 && value <= 99 || 'a whole number from 1 to 99',
};

export function transform({ data }) {
  let order;
  try {
    order = JSON.parse(data);
  } catch {
    return { reject: 'not JSON' };
  }
  if (order === null || typeof order !== 'object') return { reject: 'not an object' };
  const wrong = [];
  for (const [field, check] of Object.entries(schema)) {
    const expected = check(order[field]);
    if (expected !== true) wrong.push(`${field} is ${expected}`);
  }
  for (const field of Object.keys(order)) {
    if (!Object.hasOwn(schema, field)) wrong.push(`${field} is not a field of an order`);
  }
  if (wrong.length) return { reject: wrong.join('; ') };
}
