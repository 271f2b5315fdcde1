// Types of handlers that are a plain .js file: put it beside yours, and `// @ts-check` at its top.

declare module 'fanfare:handler' {
  /** One event on its way to its readers. */
  export interface Event {
    /** The topic it was published to. */
    topic: string;
    /** Its type, `event:` on the wire. */
    kind: string | null;
    /** The publisher's own id. */
    id: string | null;
    data: string;
  }

  /** An event that a handler makes. */
  export interface Made {
    /** Any JSON; a text is taken as it is. */
    data: unknown;
    /** Where it goes; that of the event that came in. */
    topic?: string;
    /** Its type; that of the event that came in. `null`: none. */
    kind?: string | null;
    /** Without one the hub gives one. */
    id?: string | null;
  }

  /**
   * What becomes of an event. Nothing or `true`: it is published as it came; `null` or `false`: it is dropped; a text: its
   * new data; an event or several: published instead of it; `reject`: refused, and its publisher told why.
   */
  export type Answer = void | boolean | null | string | Made | Made[] | { reject: string };

  /** What a handler exports as `transform`. */
  export type Transform = (event: Event) => Answer | Promise<Answer>;

  /** What it may export as `transformBatch`, for events published in one step: one answer for each, in their order. */
  export type TransformBatch = (events: Event[]) => Answer[] | Promise<Answer[]>;

  /** Somebody who wants to read. */
  export interface Subscriber {
    /** Those of the topics it wants that this handler handles; at least one. */
    topics: string[];
    /** The event types it wants; none means all. A greeting is filtered by them, too. */
    kinds: string[];
    /** Its name (`?client=`). */
    client: string | null;
    /** The id it resumes after, as it was sent; no proof of anything. */
    lastEventId: string | null;
  }

  /** An event that a reader is greeted with. */
  export interface Greeting {
    data: unknown;
    /** One of the subscriber's topics; may be left out where there is one. */
    topic?: string;
    kind?: string | null;
  }

  /**
   * What becomes of a reader. Nothing or `true`: it is admitted; an event or several: it gets these first; `refuse`: turned away,
   * and told why. Everything else is a fault, which lets nobody in.
   */
  export type Welcome = void | true | Greeting | Greeting[] | { refuse: string };

  /** What a handler may export as `onSubscribe`: asked about each reader, while no event is under way. */
  export type OnSubscribe = (subscriber: Subscriber) => Welcome | Promise<Welcome>;

  /** An event that a handler makes because time has passed. */
  export interface Ticked extends Made {
    topic: string;
  }

  /** What a handler may export as `tick`: called every `handler.tick`, while no event is under way. */
  export type Tick = () => void | null | Ticked | Ticked[] | Promise<void | null | Ticked | Ticked[]>;

  /** Lines in the hub's log; `console` writes there, too. */
  export const log: Record<'debug' | 'info' | 'log' | 'warn' | 'error', (...values: unknown[]) => void>;

  export const config: {
    /** What the operator has set (`handler.config`). */
    get(key: string): string | undefined;
  };

  export const clock: {
    /** Milliseconds since 1970. */
    now(): number;
  };

  /**
   * State that outlives instances and reloads, seen by this handler alone. Times to live are in milliseconds. What is set
   * throws a RangeError when the store is full (`handler.state_bytes`) or the key has not 1 to 255 bytes.
   */
  export const kv: {
    get(key: string): string | undefined;
    set(key: string, value: unknown, ttl?: number): void;
    /** Whether it was there. */
    delete(key: string): boolean;
    /** Adds to a whole number, 0 if there is none, and returns the sum; `ttl` is for a key that this makes. */
    increment(key: string, by?: number, ttl?: number): number;
    /** Sets a value if the present one is `expected`, `null` meaning none; whether it did. */
    compareAndSet(key: string, expected: string | null | undefined, value: unknown, ttl?: number): boolean;
  };
}
