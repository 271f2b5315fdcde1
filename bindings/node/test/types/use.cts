import fanfare = require('fanfare');

async function main(): Promise<string | undefined> {
  const hub: fanfare.Fanfare = await fanfare.Fanfare.start();
  return hub.publish('t', 'x');
}
main().catch((error: unknown) => error instanceof fanfare.FanfareError);
