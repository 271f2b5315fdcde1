// Alerts also go to a topic of their own; what is marked private goes nowhere else.
export function transform(event) {
  if (event.kind === 'private') return { ...event, topic: `${event.topic}/private` };
  if (event.kind === 'alert') return [event, { topic: 'alerts', data: event.data }];
}
