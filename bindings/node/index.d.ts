// Types of the package `fanfare`. Written by hand, checked with `tsc --strict` in test/types.test.mjs.

/// <reference types="node" />

import { EventEmitter } from 'node:events';

/** A value of an option. A list is joined by commas; nested objects are names with dots. */
export type OptionValue =
  | string | number | boolean | bigint | null | undefined | URL
  | readonly (string | number | boolean | bigint)[]
  | { readonly [name: string]: OptionValue };

/** Options of a hub: the library's own, by their names (docs/configuration.md, `Fanfare.options()`), and these. */
export interface StartOptions {
  /** The path of a TOML file, or its text. What is given by name wins over it. */
  config?: string | URL | { toml: string };
  /** Addresses for plain HTTP; port 0 takes a free one. Default `127.0.0.1:4780`. */
  listen?: string | readonly string[];
  /**
   * Decides about every request to the hub's own listener, within `timeouts.authorize`: true lets it in as nobody in particular, a
   * string lets it in under that client name, false refuses it with 403, `{ status, message }` with that. What it throws is a 500, and
   * an `error` event.
   */
  authorize?: (request: AuthorizeRequest) => Verdict | PromiseLike<Verdict>;
  /**
   * Event handlers in WebAssembly: files by their topics, in the order in which events pass them. They need an addon that is built with
   * them; otherwise starting is refused with `unsupported`.
   */
  handlers?: Readonly<Record<string, string | URL>> | readonly string[] | string;
  [option: string]: unknown;
}

export type Verdict = boolean | string | { status: number; message?: string };

/** A request to the hub's own listener. */
export interface AuthorizeRequest {
  readonly action: 'subscribe' | 'publish' | 'close';
  readonly method: string;
  /** Path of the URL, as sent. */
  readonly path: string;
  /** Query of the URL without `?`, as sent. */
  readonly query: string;
  /** The peer's IP address. */
  readonly address?: string;
  readonly lastEventId?: string;
  /** The name that it gives itself. Nobody has checked it. */
  readonly client?: string;
  readonly topics: readonly string[];
  /** By name in lower case; those sent more than once are joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Headers of the program's own, such as CORS and cookies; those that a stream sets itself are left out. */
export type OwnHeaders = Readonly<Record<string, string | number | readonly string[]>>;

/** An event for one client. */
export interface Greeting {
  /** Event type; the client listens for `message` without one. Not `fanfare.*`. */
  event?: string;
  data?: Data;
  /** How long the client waits before it connects again, in milliseconds, up to a day. */
  retry?: number;
}

export interface StreamOptions extends ReadOptions {
  topics: string | readonly string[];
  /**
   * What this client gets first, before `replay` and before what it has missed, each time that it comes: it alone, and no history has
   * it. 64 events at most, together no larger than `limits.event_bytes`.
   */
  greeting?: Greeting | readonly Greeting[];
}

export interface ResponseOptions extends StreamOptions {
  headers?: Readonly<Record<string, string>>;
}

export interface AcceptOptions extends StreamOptions {
  /** Added to those that the response has already. */
  headers?: OwnHeaders;
  /** False: the host writes the stream, even where the socket could be handed over. */
  handoff?: boolean;
}

/** A stream that `accept` or `response` has begun. */
export interface Stream {
  readonly topics: readonly string[];
  readonly client: string | null;
  /** The hub writes to the socket itself; otherwise the host's response carries it. */
  readonly handedOff: boolean;
  readonly closed: boolean;
  /** Ends it at a boundary between events. Its reader comes back by itself: refuse it then. */
  close(): void;
}

/** One option of the library. */
export interface Option {
  /** `history.events` */
  readonly name: string;
  /** What its values look like, with their range. */
  readonly expects: string;
  /** Its default, as text. */
  readonly default: string;
  /** Effect, unit and special values. */
  readonly doc: string;
  /** Which part of the hub it belongs to: `engine`, `server` or `hub`. */
  readonly part: string;
}

/** A call that the library refused. Arguments of the wrong type are a `TypeError` instead. */
export class FanfareError extends Error {
  constructor(message: string, code: string, status?: number, errno?: number);
  readonly name: 'FanfareError';
  /** Stable name, such as `invalid_topic`: those of the HTTP answers and of include/fanfare.h, in lower case. */
  readonly code: string;
  /** Its number in include/fanfare.h. */
  readonly status: number;
  /** `errno` of the system call that failed, if one did. */
  readonly errno?: number;
  /** Of `publishBatch`: which event was refused. Nothing has been published. */
  readonly index?: number;
}

/** What a gap notice says is missing. */
export interface Gap {
  /** The id after which the reader wanted to go on, if it named one. */
  readonly requested?: string | null;
  /** The oldest id that is still there, if any. */
  readonly oldest?: string | null;
  /** The newest id, if any. */
  readonly newest?: string | null;
}

/** An event, or a notice that events are missing. */
export class FanfareEvent {
  constructor(topic: string, id: string, event: string, data: string, position: number);
  readonly topic: string;
  /** Give it to `since` to go on after it. */
  readonly id: string;
  /** The event's type, `message` if it was published without; `fanfare.gap` of a notice. */
  readonly event: string;
  readonly data: string;
  /** Its position in the hub's one sequence. */
  readonly position: number;
  /** The data, read as JSON. Throws a `SyntaxError` if it is not. */
  json(): any;
  /** Of a gap notice what is missing; null of any other event. */
  get gap(): Gap | null;
}

/** Data of an event: text and bytes (UTF-8) as they are, everything else as JSON. Absent is empty. */
export type Data = string | Uint8Array | number | boolean | null | undefined | object;

export interface PublishOptions {
  /** Event type; readers without one listen for `message`. Not `fanfare.*`. */
  event?: string;
  /** An id of your own: 1 to 128 of `A-Z a-z 0-9 . _ ~ -`. */
  id?: string;
  /** The client that does not get it, usually its sender. */
  except?: string;
  /** What the lag policy `conflate` keeps the latest of; the event type if absent. */
  key?: string;
  /** How long readers wait before they connect again, in milliseconds, up to a day. */
  retry?: number;
}

/** An event of a batch. */
export interface BatchEvent extends PublishOptions {
  topic: string;
  data?: Data;
}

/** What a reader wants. */
export interface ReadOptions {
  /** Go on after the event with this id. */
  since?: string;
  /** Without `since`: how many retained events come first. Default `none`. */
  replay?: number | 'all' | 'none';
  /** Who reads: events published `except` this client are left out. */
  client?: string;
  /** Event types to read; all if absent. `message` stands for events without a type. */
  events?: string | readonly string[];
  /** What happens when the reader falls out of history; the option `lag` of the hub if absent. */
  lag?: 'disconnect' | 'skip' | 'conflate';
}

export interface SubscribeOptions extends ReadOptions {
  /** Ends the subscription: `next` then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Reads topics in this process. Events are pulled when they are asked for: a slow reader falls behind in the hub's history, and
 * what happens there is `lag`'s to say; with `disconnect` it ends with a `FanfareError` of the code `lapped`. It is over, without an
 * error, when its topics are closed or the hub stops. It keeps the process alive while somebody waits for `next`.
 */
export class Subscription implements AsyncIterableIterator<FanfareEvent> {
  private constructor();
  [Symbol.asyncIterator](): this;
  next(): Promise<IteratorResult<FanfareEvent, undefined>>;
  /** Ends it; leaving a `for await` loop does that too. */
  return(value?: any): Promise<IteratorResult<FanfareEvent, any>>;
  throw(error?: any): Promise<IteratorResult<FanfareEvent, undefined>>;
  /** Why it is over: `topic_closed`, `lapped`, `stopping`, or `stale_handle` when it was left; null while it is not. */
  get ended(): string | null;
  /** Reads one more topic from now on. False if it is read already. Throws `stale_handle` when the subscription is over. */
  add(topic: string): boolean;
  /** Reads a topic no more. False if it was not read. Events of it that have been pulled already still come. */
  remove(topic: string): boolean;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Counters since the start, and what there is now. */
export interface Stats {
  readonly published: number;
  readonly publishedBytes: number;
  readonly refused: number;
  readonly dropped: number;
  readonly gaps: number;
  readonly lapped: number;
  readonly historyEvents: number;
  readonly historyBytes: number;
  readonly topics: number;
  readonly subscriptions: number;
}

/** An event handler, and what it has done since it was loaded. */
export interface HandlerInfo {
  readonly name: string;
  readonly topics: string;
  /** Events it was called for. */
  readonly calls: number;
  readonly passed: number;
  readonly dropped: number;
  /** Events in whose place it put another one. */
  readonly replaced: number;
  /** Events of which it made several. */
  readonly emitted: number;
  readonly rejected: number;
  /** Calls in which it failed; the option `handler.on_fault` decided then. */
  readonly faults: number;
  /** Events that `handler.on_fault` decided without a call, after many faults in a row. */
  readonly rested: number;
  /** Nanoseconds that the calls took, all together. */
  readonly timeNs: number;
  readonly instances: number;
  /** The most that any one instance has held. */
  readonly memoryBytes: number;
  readonly stateBytes: number;
  readonly reloads: number;
  readonly failedReloads: number;
}

/** What stopping met. */
export interface StopReport {
  /** Streams that were open when it began. */
  readonly streams: number;
  /** Connections that were still open at the deadline and were cut. */
  readonly cut: number;
}

export interface FanfareEvents {
  /** `accept` or `response` has begun a stream. Streams of the hub's own listener are not told here. */
  connect: [stream: Stream];
  /** Such a stream is over. `reason` is `ok` for one that left or was closed, else the code: `stopping`, `topic_closed`, `lapped`. */
  disconnect: [stream: Stream, reason: string];
  /** `authorize` has failed. Without a listener it is a process warning. */
  error: [error: unknown];
  /** A reader of this process was told that events are missing. */
  gap: [gap: FanfareEvent];
}

/** A hub in this process. It does not keep the process alive by itself. */
export class Fanfare extends EventEmitter<FanfareEvents> {
  private constructor();

  /** Starts a hub: it accepts connections when this resolves. Rejects with a `FanfareError` that names the option. */
  static start(options?: StartOptions): Promise<Fanfare>;
  /** Throws what `start` would say about each option, and starts nothing. */
  static check(options?: StartOptions): void;
  /** Every option there is. */
  static options(): Option[];
  /** The library's version. */
  static get version(): string;

  /** Where it listens, for a client on this machine: `http://127.0.0.1:4780`. */
  readonly url: string;
  /** Every URL it listens on, plain ones first. */
  readonly urls: readonly string[];

  /**
   * Publishes one event and returns its id. Never waits for a reader: when it returns every reader can see it, and nobody has
   * necessarily got it. Undefined if a handler dropped it.
   */
  publish(topic: string, data?: Data, options?: PublishOptions): string | undefined;
  /** Publishes events in one step, all of them or none, and returns their ids; undefined for those that a handler dropped. */
  publishBatch(events: Iterable<BatchEvent>): (string | undefined)[];
  /** Closes a topic: readers get what is retained and end. False if it was closed before. */
  closeTopic(topic: string): boolean;
  /**
   * Deletes the events that a topic has, in memory and with `data` on disk, where their space is given back within seconds. The
   * topic goes on; one that is closed stays closed. Readers that have not got the events are told by a gap.
   */
  deleteHistory(topic: string): void;
  subscribe(topics: string | readonly string[], options?: SubscribeOptions): Subscription;
  stats(): Stats;

  /**
   * Loads an event handler behind those that are there: a component or core module of WebAssembly, from a file or from bytes
   * with a `name`. `topics` is a topic, or with a `*` at the end every topic that begins so. Resolves to its name when events pass
   * it: that of the file without its ending, or the one given, with a number if it is taken. Compiles on a thread of the pool.
   * `settings` are this handler's alone, as they follow a file in the option `handlers`: `'event=vote;time=5ms;config.most=99'`.
   */
  loadHandler(topics: string, source: string | URL | Uint8Array, options?: { name?: string; settings?: string }): Promise<string>;
  /** Unloads a handler; with `data` its state stays for the next of its name. False if there is none of that name. */
  unloadHandler(name: string): boolean;
  /** The handlers and what they have done, in the order in which events pass them. */
  handlers(): HandlerInfo[];

  /**
   * Answers a request of node:http, node:http2, Express or Fastify with a stream, after its `Last-Event-ID`. A plain HTTP/1 socket is
   * handed over: the response then closes, the server forgets the connection, and the hub writes. Elsewhere the host's response
   * carries the stream, and takes as much as it has room for.
   *
   * Null when it was answered otherwise: 204 when its topics are closed, 503 while the hub stops, 400 for an unusable
   * `Last-Event-ID`, a bare head for HEAD. Throws what the library refuses, with the response untouched.
   */
  accept(request: object, response: object, options: AcceptOptions): Stream | null;
  /** The same for servers that speak `Request` and `Response`. Nothing is read ahead of the body's consumer. */
  response(request: Request, options: ResponseOptions): Response;
  /** Ends every stream of this client, of whatever kind. Refuse it when it comes back. */
  revoke(client: string): void;

  /** Keeps the process alive until `unref` or the stop. */
  ref(): this;
  unref(): this;

  /**
   * Ends every stream so that its reader resumes elsewhere, spread over `timeout` milliseconds (the option `timeouts.stop` if
   * absent), and cuts what is left then. Later calls give the same promise.
   */
  stop(options?: { timeout?: number }): Promise<StopReport>;
  [Symbol.asyncDispose](): Promise<void>;
}
