/* libfanfare: an event engine for Server-Sent Events, inside your process.
 * Licence: MIT OR Apache-2.0.
 *
 * This file is the contract. It is made by `cargo xtask header` from the crate `ffi`; edit there.
 *
 *     fanfare_hub *hub;
 *     fanfare_error err = FANFARE_ERROR_INIT;
 *     if (fanfare_start(NULL, &hub, &err) != FANFARE_OK) { fprintf(stderr, "%s\n", err.message); exit(1); }
 *     fanfare_event event = FANFARE_EVENT_INIT;
 *     event.topic = fanfare_text("chat");
 *     event.data = fanfare_text("hello");
 *     fanfare_publish(hub, &event, NULL, NULL);      (browsers read http://127.0.0.1:4780/events/chat)
 *     fanfare_stop(hub, FANFARE_STOP_DEFAULT, NULL, NULL);
 *     fanfare_free(&hub);
 *
 * ERRORS      Every function that can fail returns a fanfare_status: 0 done, positive done with something to know, negative
 *             refused. A refused call has changed nothing and written no output. The last parameter takes the reason, or NULL, which
 *             costs nothing. Numbers are frozen; unknown ones are errors when negative. No call crashes on NULL, on a freed or forged
 *             handle or id, or on text that is not UTF-8. No panic leaves the library: a fault of its own is FANFARE_ERR_PANICKED, after
 *             which what the call was to do may be done, in part, or not; the hub goes on, and every call with it is answered.
 * THREADS     A hub may be used from any thread at any time, also while it stops. A configuration and a batch belong to one
 *             thread at a time. The library's threads block every signal and never call your code, except the one wake-up callback.
 * OWNERSHIP   "Borrows": the memory stays yours, and is not looked at after the call. "Takes": it is the library's from now on. "Returns
 *             owned": free it with the function that is named. "Returns borrowed": do not free it; it says how long it lives.
 * HANDLES     fanfare_hub, fanfare_config and fanfare_batch are numbers dressed as pointers: do not follow them. A free function
 *             takes the address of your handle and sets it to NULL. Ids of subscriptions, streams and requests are numbers that are
 *             not used again: one whose thing is gone gives FANFARE_ERR_STALE_HANDLE.
 * STRUCTURES  Each begins with its size in bytes: set it (FANFARE_..._INIT does), and leave what you do not need 0, which is the default
 *             everywhere. That is how old programs work with new libraries, and new ones with old libraries.
 * TEXT        Views of pointer and length, UTF-8, not NUL-terminated; {NULL, 0} is "absent".
 * FORK        A hub does not survive fork(): in the child every call with its handle gives FANFARE_ERR_FORKED. Start hubs after the fork, in
 *             the process that uses them; a child may start its own.
 * SIGNALS     No handler is installed, and writing to a closed connection raises no SIGPIPE.
 */


#ifndef FANFARE_H
#define FANFARE_H

#include <stddef.h>
#include <stdint.h>

/* Errors. fanfare_strerror has these texts, fanfare_code_name the names in lower case. */
/* A topic name is empty, too long or holds a control character. */
#define FANFARE_ERR_INVALID_TOPIC (-1)
/* An event id is malformed, too long or reserved. */
#define FANFARE_ERR_INVALID_ID (-2)
/* An event type is empty, too long, reserved or holds a control character. */
#define FANFARE_ERR_INVALID_EVENT (-3)
/* Event data is not UTF-8. */
#define FANFARE_ERR_INVALID_DATA (-4)
/* A retry time is not a number of milliseconds in range. */
#define FANFARE_ERR_INVALID_RETRY (-5)
/* A client name is empty, too long or holds a control character. */
#define FANFARE_ERR_INVALID_CLIENT (-6)
/* A conflation key is empty, too long or holds a control character. */
#define FANFARE_ERR_INVALID_KEY (-7)
/* A parameter has a value that is not allowed. */
#define FANFARE_ERR_INVALID_PARAMETER (-8)
/* A parameter that does not exist. */
#define FANFARE_ERR_UNKNOWN_PARAMETER (-9)
/* A request body that does not follow its format. */
#define FANFARE_ERR_INVALID_BODY (-10)
/* No or wrong credentials. */
#define FANFARE_ERR_UNAUTHORIZED (-11)
/* A browser page of an origin that is not allowed. */
#define FANFARE_ERR_FORBIDDEN_ORIGIN (-12)
/* A Host name that this hub does not answer to. */
#define FANFARE_ERR_FORBIDDEN_HOST (-13)
/* Nothing is served there. */
#define FANFARE_ERR_NOT_FOUND (-14)
/* The method does not exist for this path. */
#define FANFARE_ERR_METHOD_NOT_ALLOWED (-15)
/* The client does not accept an event stream. */
#define FANFARE_ERR_NOT_ACCEPTABLE (-16)
/* The topic has been closed. */
#define FANFARE_ERR_TOPIC_CLOSED (-17)
/* An event or body is larger than its limit. */
#define FANFARE_ERR_TOO_LARGE (-18)
/* The request target is longer than its limit. */
#define FANFARE_ERR_URI_TOO_LONG (-19)
/* A body of a type that is not taken here. */
#define FANFARE_ERR_UNSUPPORTED_MEDIA_TYPE (-20)
/* A handler refused the event. */
#define FANFARE_ERR_HANDLER_REFUSED (-21)
/* A handler failed and its policy is to refuse. */
#define FANFARE_ERR_HANDLER_FAILED (-22)
/* A publisher is above its rate. */
#define FANFARE_ERR_RATE_LIMITED (-23)
/* The request header is larger than its limit. */
#define FANFARE_ERR_HEADER_TOO_LARGE (-24)
/* The hub holds as many topics as it may. */
#define FANFARE_ERR_LIMIT_TOPICS (-25)
/* The hub holds as many connections as it may. */
#define FANFARE_ERR_LIMIT_CONNECTIONS (-26)
/* The hub is stopping. */
#define FANFARE_ERR_STOPPING (-27)
/* A fault of ours: please report it. */
#define FANFARE_ERR_INTERNAL (-28)
/* A configuration value is unusable. */
#define FANFARE_ERR_INVALID_CONFIG (-29)
/* A handle, subscription or topic that does not exist any more. */
#define FANFARE_ERR_STALE_HANDLE (-30)
/* What was asked is not possible with this socket, build or platform. */
#define FANFARE_ERR_UNSUPPORTED (-31)
/* A pointer that must not be null is. */
#define FANFARE_ERR_NULL_POINTER (-32)
/* The process was forked after the hub was started: the child has none of its threads. */
#define FANFARE_ERR_FORKED (-33)
/* The caller was built against another version of the ABI. */
#define FANFARE_ERR_ABI_MISMATCH (-34)
/* A call that would wait for itself. */
#define FANFARE_ERR_DEADLOCK (-35)
/* The hub could not start: an address is taken, a certificate does not load, a thread cannot be created. */
#define FANFARE_ERR_START_FAILED (-36)
/* The reader fell out of history. */
#define FANFARE_ERR_LAPPED (-37)
/* A structure larger than this library knows, with something in the unknown part. */
#define FANFARE_ERR_TOO_NEW (-38)
/* A panic was caught at the edge of the library: please report it. */
#define FANFARE_ERR_PANICKED (-39)
/* The event could not be stored: the disk is full or failing. It may be tried again. */
#define FANFARE_ERR_NOT_STORED (-40)


// Bytes of a message, the NUL at its end included.
#define FANFARE_ERROR_MESSAGE_BYTES 496

// Version of this header. It changes when a program has to be compiled again.
#define FANFARE_ABI_VERSION 1

// An event of a subscription: `topic`, `id`, `event`, `data`, `position`.
#define FANFARE_ITEM_EVENT 1

// A notice that events are missing: `event` is `fanfare.gap`, `data` is `{"requested","oldest","newest"}` as JSON, `id` goes on where
// reading goes on.
#define FANFARE_ITEM_GAP 2

// A subscription or stream is over, and its id is stale: `code` says why, 0 for a reader that left, was revoked or has reached `stream.max_age`.
#define FANFARE_ITEM_END 3

// A subscription of the kind `FANFARE_ON_DEMAND`, or a host-written stream, has something for `fanfare_pull`.
#define FANFARE_ITEM_READY 4

// Bytes of a host-written stream in `data`: whole or cut anywhere, to be written as they are.
#define FANFARE_ITEM_BYTES 5

// A request waits for `fanfare_accept` or `fanfare_reject`: see `request`.
#define FANFARE_ITEM_REQUEST 6

// Somebody wants to read a topic.
#define FANFARE_ACTION_SUBSCRIBE 1

// Somebody wants to publish to a topic.
#define FANFARE_ACTION_PUBLISH 2

// Somebody wants to close a topic.
#define FANFARE_ACTION_CLOSE 4

// Use the option `timeouts.stop` as deadline.
#define FANFARE_STOP_DEFAULT UINT64_MAX

// Room for the name of a handler and its NUL.
#define FANFARE_HANDLER_NAME_BYTES 288

// `fanfare_event.retry_ms` counts, also when it is 0.
#define FANFARE_EVENT_RETRY 1

// Room for an id and its NUL.
#define FANFARE_ID_BYTES 136

// Every retained event, for `replay`.
#define FANFARE_REPLAY_ALL UINT64_MAX

// The hub's option `lag`.
#define FANFARE_LAG_DEFAULT 0

// End the reader; it resumes and is told what it missed.
#define FANFARE_LAG_DISCONNECT 1

// Tell it by a gap notice and go on.
#define FANFARE_LAG_SKIP 2

// Give it the latest event of each key and go on.
#define FANFARE_LAG_CONFLATE 3

// The host pulls the events with `fanfare_pull` when it likes; draining gives a `FANFARE_ITEM_READY` only. For hosts whose
// readers are slower than their loop: what is not pulled stays in history, and the lag policy bounds it.
#define FANFARE_ON_DEMAND 1

// The host has sent the head of its answer, the empty line included.
#define FANFARE_HEAD_SENT 1

// With `FANFARE_HEAD_SENT`: the head announced `Transfer-Encoding: chunked`.
#define FANFARE_CHUNKED 2

// Without `FANFARE_HEAD_SENT`: the request was of HTTP/1.0, which knows no chunks.
#define FANFARE_HTTP10 4

// Put a `FANFARE_ITEM_END` into the queue when the stream is over. A host that asks for it drains the queue.
#define FANFARE_NOTIFY_END 8

// Wait for ever.
#define FANFARE_FOREVER UINT64_MAX

// Items and the memory of their views. A handle: give it to `fanfare_batch_items` and `fanfare_batch_free` only.
typedef struct fanfare_batch fanfare_batch;

// Options for `fanfare_start`. A handle. One thread at a time.
typedef struct fanfare_config fanfare_config;

// A running hub. A handle: any thread may use it at any time, also while it stops.
typedef struct fanfare_hub fanfare_hub;

// Outcome of a call: 0 is done, positive is done with something to know, negative is refused and nothing has changed.
// Numbers are frozen: `FANFARE_ERR_*`.
typedef int32_t fanfare_status;

// Room for the reason of a failure: the caller's own memory, written only when a call fails. Set `size` first
// (`FANFARE_ERROR_INIT`). Every function takes NULL instead.
typedef struct {
    // `sizeof(fanfare_error)`.
    size_t size;
    // The status that the call returned.
    fanfare_status code;
    // `errno` of the system call that failed, or 0.
    int32_t os_errno;
    // What is wrong and where, for people: UTF-8, NUL-terminated, cut at a character if it is too long.
    char message[FANFARE_ERROR_MESSAGE_BYTES];
} fanfare_error;

// A view of text or bytes: not NUL-terminated, any length. `{NULL, 0}` means "absent".
//
// What goes in is copied before the call returns. What comes out lives as long as its function says.
typedef struct {
    // First byte, or NULL.
    const char *ptr;
    // Number of bytes.
    size_t len;
} fanfare_str;

// One option, for documentation and for bindings. The texts live for ever.
typedef struct {
    // `sizeof(fanfare_key)`, set by the caller.
    size_t size;
    // `history.events`
    const char *name;
    // What its values look like, with their range.
    const char *expects;
    // Its default, as text.
    const char *default_value;
    // Effect, unit and special values.
    const char *doc;
    // Which part of the hub it belongs to: `engine`, `server` or `hub`.
    const char *part;
} fanfare_key;

// What stopping met.
typedef struct {
    // `sizeof(fanfare_stop_report)`, set by the caller.
    size_t size;
    // Streams that were open when it began.
    uint64_t streams;
    // Connections that were still open at the deadline and were cut.
    uint64_t cut;
} fanfare_stop_report;

// A handler to load: a `file`, or `bytes` with a `name`. The file is watched, and taken into use when it changes, with the option
// `handler.reload`.
typedef struct {
    // `sizeof(fanfare_handler)`.
    size_t size;
    // Whose events pass it: a topic, or with a `*` at the end every topic that begins so. 1 to 256 bytes.
    fanfare_str topics;
    // Path of a component or core module of WebAssembly, up to `handler.file_bytes`.
    fanfare_str file;
    // The same in memory, copied before the call returns.
    fanfare_str bytes;
    // What statistics, the log and `fanfare_unload_handler` call it: 1 to 255 bytes without control characters. With `file` leave it
    // absent: it is the file's name without its ending.
    fanfare_str name;
    // What is set for this handler alone, as it follows the file in the option `handlers`:
    // `event=TYPE;time=5ms;config.KEY=VALUE`. Absent: nothing.
    fanfare_str settings;
} fanfare_handler;

// A handler of a hub, and what it has done since it was loaded. Reloading its file does not reset it.
typedef struct {
    // `sizeof(fanfare_handler_info)`, set by the caller.
    size_t size;
    // Events it was called for.
    uint64_t calls;
    // Events that it let pass unchanged.
    uint64_t passed;
    // Events that it dropped.
    uint64_t dropped;
    // Events in whose place it put another one.
    uint64_t replaced;
    // Events of which it made several.
    uint64_t emitted;
    // Events that it refused.
    uint64_t rejected;
    // Calls in which it failed, for whatever reason; `handler.on_fault` decided then.
    uint64_t faults;
    // Events that `handler.on_fault` decided without a call, while it rested after many faults in a row.
    uint64_t rested;
    // How long the calls took, all together, in nanoseconds.
    uint64_t time_ns;
    // Instances of its code now.
    uint64_t instances;
    // The most memory that any one instance has held, in bytes.
    uint64_t memory_bytes;
    // Bytes of state that it keeps beside its instances.
    uint64_t state_bytes;
    // How often its code was exchanged because its file changed.
    uint64_t reloads;
    // How often new code was refused; the old code went on.
    uint64_t failed_reloads;
    // Bytes of the name, without the NUL.
    uint32_t name_len;
    // Bytes of the topics, without the NUL.
    uint32_t topics_len;
    // Its name, with a NUL behind it.
    char name[FANFARE_HANDLER_NAME_BYTES];
    // Its topics as they were given, with a NUL behind them.
    char topics[FANFARE_HANDLER_NAME_BYTES];
} fanfare_handler_info;

// An event to publish. Every text is UTF-8 and is copied before the call returns.
typedef struct {
    // `sizeof(fanfare_event)`.
    size_t size;
    // Where it goes: 1 to 255 bytes without control characters, compared byte for byte.
    fanfare_str topic;
    // The payload, up to `limits.event_bytes`. CRLF and CR reach readers as LF. Absent is empty.
    fanfare_str data;
    // The event type; absent means `message`. 1 to 255 bytes without control characters, not `fanfare.*`.
    fanfare_str event;
    // Your own id, 1 to 128 of `A-Z a-z 0-9 . _ ~ -`; absent means that the hub gives one.
    fanfare_str id;
    // The client that does not get it, usually its sender; absent means everybody does.
    fanfare_str except;
    // What the lag policy `conflate` keeps the latest of; absent means the event type.
    fanfare_str key;
    // How long readers wait before they connect again, in milliseconds, up to one day; with `FANFARE_EVENT_RETRY`.
    uint64_t retry_ms;
    // `FANFARE_EVENT_*`.
    uint32_t flags;
    // Leave 0.
    uint32_t reserved;
} fanfare_event;

// What publishing has done.
typedef struct {
    // `sizeof(fanfare_published)`, set by the caller.
    size_t size;
    // Position of the last event that it became, in the hub's one sequence.
    uint64_t position;
    // How many events it became: 1, or what handlers made of it.
    uint32_t events;
    // Bytes of the id, without the NUL.
    uint32_t id_len;
    // Id of the last event that it became, with a NUL behind it.
    char id[FANFARE_ID_BYTES];
} fanfare_published;

// Counters since the start, and what there is now. The HTTP side has more under `/stats` and `/metrics`.
typedef struct {
    // `sizeof(fanfare_stats)`, set by the caller.
    size_t size;
    // Events published.
    uint64_t published;
    // Bytes of their frames.
    uint64_t published_bytes;
    // Events refused, for whatever reason.
    uint64_t refused;
    // Events that a handler dropped.
    uint64_t dropped;
    // Gap notices given to readers.
    uint64_t gaps;
    // Readers that fell out of history and were ended for it.
    uint64_t lapped;
    // Events retained now.
    uint64_t history_events;
    // Bytes retained now, bookkeeping included.
    uint64_t history_bytes;
    // Topics now.
    uint64_t topics;
    // Cursors now: subscriptions of this process, streams that read alone, and groups of streams.
    uint64_t subscriptions;
} fanfare_stats;

// What a reader wants.
typedef struct {
    // `sizeof(fanfare_subscribe_options)`.
    size_t size;
    // Topics, at least one. Topics that do not exist are opened.
    const fanfare_str *topics;
    // How many, up to `limits.topics_per_stream`.
    size_t topics_len;
    // Go on after the event with this id. Absent or empty: see `replay`.
    fanfare_str last_event_id;
    // Without a `last_event_id`: 0 begins with what is published from now on, N with the last N retained events,
    // `FANFARE_REPLAY_ALL` with the oldest one.
    uint64_t replay;
    // Who reads: events published `except` this client are left out. Absent: nobody in particular.
    fanfare_str client;
    // Event types to read; none means all. `message` stands for events without a type.
    const fanfare_str *events;
    // How many.
    size_t events_len;
    // `FANFARE_LAG_*`: what happens when the reader falls out of history.
    uint32_t lag;
    // `FANFARE_ON_DEMAND` or 0.
    uint32_t flags;
    // Comes back in every item of this subscription or stream.
    uint64_t user;
    // Streams to clients (`fanfare_adopt`, `fanfare_open_stream`): what this client gets first, before `replay` and before what it has missed, each
    // time that it comes. Type, data and retry count; topic, id, `except` and key have to be absent, for it goes to this client alone, into no
    // history, and leaves alone what the client resumes after. An array of this header's `fanfare_event`, of which each says its size.
    const fanfare_event *greeting;
    // How many, 64 at most, and together no larger than `limits.event_bytes`.
    size_t greeting_len;
} fanfare_subscribe_options;

// One header of a request. Its name is in lower case.
typedef struct {
    // Lower case.
    fanfare_str name;
    // As sent: bytes, not always UTF-8.
    fanfare_str value;
} fanfare_header;

// How a socket is adopted. All zero: the hub writes the head of an HTTP/1.1 answer.
typedef struct {
    // `sizeof(fanfare_adopt_options)`.
    size_t size;
    // Headers of the host's own for the head, such as CORS and cookies; none that the stream sets itself (type, caching,
    // framing, connection, date).
    const fanfare_header *headers;
    // How many.
    size_t headers_len;
    // `FANFARE_HEAD_SENT`, `FANFARE_CHUNKED`, `FANFARE_HTTP10`, `FANFARE_NOTIFY_END`.
    uint32_t flags;
    // Leave 0.
    uint32_t reserved;
} fanfare_adopt_options;

// What an accepted request may do.
typedef struct {
    // `sizeof(fanfare_grant)`.
    size_t size;
    // Who a subscriber is, as the host has found out, in place of the name that it claims; absent leaves it at that.
    fanfare_str client;
} fanfare_grant;

// A request to this hub's own listener that waits for a decision.
typedef struct {
    // `sizeof(fanfare_request)` of the library, at least what this header shows.
    size_t size;
    // One of `FANFARE_ACTION_*`.
    uint32_t action;
    // Always 0.
    uint32_t reserved;
    // `GET`, `POST`, ...
    fanfare_str method;
    // Path of the URL, as sent.
    fanfare_str path;
    // Query of the URL without `?`, as sent.
    fanfare_str query;
    // The peer's IP address as text.
    fanfare_str address;
    // The id after which it wants to go on; absent if none.
    fanfare_str last_event_id;
    // The name that it gives itself (`?client=`); absent if none. Nobody has checked it.
    fanfare_str client;
    // The topics it wants.
    const fanfare_str *topics;
    // How many.
    size_t topics_len;
    // Its headers.
    const fanfare_header *headers;
    // How many.
    size_t headers_len;
} fanfare_request;

// One item of a batch. Views in it are valid until the batch is freed.
typedef struct {
    // The caller's `sizeof(fanfare_item)`.
    size_t size;
    // `FANFARE_ITEM_*`. Skip kinds that you do not know.
    int32_t kind;
    // Why it is over, for `FANFARE_ITEM_END`: `FANFARE_ERR_TOPIC_CLOSED`, `FANFARE_ERR_LAPPED`, `FANFARE_ERR_STOPPING`, or 0.
    fanfare_status code;
    // Id of the subscription, stream or request.
    uint64_t handle;
    // The `user` value that the subscription or stream was opened with.
    uint64_t user;
    // The event's topic.
    fanfare_str topic;
    // The event's id: give it to `last_event_id` to go on after it.
    fanfare_str id;
    // The event's type; absent means `message`.
    fanfare_str event;
    // The event's data, or a stream's bytes. Not NUL-terminated.
    fanfare_str data;
    // The event's position in the hub's one sequence.
    uint64_t position;
    // The request, for `FANFARE_ITEM_REQUEST`; NULL otherwise.
    const fanfare_request *request;
} fanfare_item;

// Called when the hub's queue becomes non-empty, with the `user` pointer. It runs on whichever thread filled the queue, which may be one of yours inside
// `fanfare_publish`; it must not block, throw or call into libfanfare (every call is answered with `DEADLOCK`). Note it and return.
typedef void (*fanfare_wakeup)(void *user);

// Done.
#define FANFARE_OK 0

// Done, and there is nothing more now; or the time is over and there was nothing.
#define FANFARE_AGAIN 1

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The stable name of a status, for example `invalid_topic`: `ok`, `again`, the codes of HTTP answers and of
// this header, or `unknown`. *Returns borrowed*, valid for ever. Any thread; never fails.
const char *fanfare_code_name(fanfare_status status);

// What a status means, in a sentence. *Returns borrowed*, valid for ever. Any thread; never fails.
const char *fanfare_strerror(fanfare_status status);

// The number of a stable name, for bindings: 0 for `ok`, or `FANFARE_ERR_*`; `INT32_MIN` when there is no such name.
// Any thread; never fails.
//
// # Safety
// `name` is NULL or NUL-terminated.
fanfare_status fanfare_code_number(const char *name);

// The library's own `FANFARE_ABI_VERSION`; a difference to your header's means that they do not belong together.
uint32_t fanfare_abi_version(void);

// The library's version, for example `0.1.0`. *Returns borrowed*, valid for ever.
const char *fanfare_version(void);

// Makes a configuration with every option at its default. `abi_version` is `FANFARE_ABI_VERSION` of your header.
// *Returns owned*: free it with `fanfare_config_free`. Any thread.
//
// Errors: `NULL_POINTER`; `ABI_MISMATCH` when this library cannot serve that header.
//
// # Safety
// `config` is NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_config_new(uint32_t abi_version,
                                  fanfare_config **config,
                                  fanfare_error *err);

// Sets one option from text, as in `fanfare --set KEY=VALUE`; docs/configuration.md lists them, and so does
// `fanfare_config_key`. A later call wins. *Borrows* both texts, NUL-terminated UTF-8.
//
// Errors: `INVALID_CONFIG` names the key and what is expected, and for an unknown key the nearest one.
//
// # Safety
// `key` and `value` are NULL or NUL-terminated; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_config_set(fanfare_config *config,
                                  const char *key,
                                  const char *value,
                                  fanfare_error *err);

// Sets options from TOML text, as in the file of `fanfare --config`; `name` is what messages call it (NULL: "configuration"). What the
// text sets wins over what was set before. *Borrows* both. On error nothing of the text is set.
//
// Errors: `INVALID_CONFIG` with `name:line`.
//
// # Safety
// `toml` is readable; `name` is NULL or NUL-terminated; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_config_toml(fanfare_config *config,
                                   fanfare_str toml,
                                   const char *name,
                                   fanfare_error *err);

// Sets options from a TOML file. What the file sets wins over what was set before. *Borrows* the path. On error nothing is set.
//
// Errors: `INVALID_CONFIG` with `path:line`.
//
// # Safety
// `path` is NULL or NUL-terminated; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_config_file(fanfare_config *config,
                                   const char *path,
                                   fanfare_error *err);

// Writes the value of an option to `value` as text with a NUL, cut to `capacity` bytes; `*len` gets its length without
// the NUL, so that a caller knows whether it was cut. `value` may be NULL when `capacity` is 0.
//
// Errors: `INVALID_CONFIG` for an unknown key.
//
// # Safety
// `key` is NULL or NUL-terminated; `value` is writable for `capacity` bytes; `len` is NULL or writable; `err` is NULL or as
// `fanfare_error` says.
fanfare_status fanfare_config_get(const fanfare_config *config,
                                  const char *key,
                                  char *value,
                                  size_t capacity,
                                  size_t *len,
                                  fanfare_error *err);

// Lets the host decide about requests to the hub's own listener: `actions` is a sum of `FANFARE_ACTION_*`. Each such request
// becomes a `FANFARE_ITEM_REQUEST` and waits for `fanfare_accept` or `fanfare_reject`, for `timeouts.authorize` at most: then it is refused
// with 503, but an `EventSource`, which gives up for ever on that, is given a stream that ends at once and comes back.
//
// Errors: `INVALID_PARAMETER` for an unknown action.
//
// # Safety
// `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_config_authorize(fanfare_config *config,
                                        uint32_t actions,
                                        fanfare_error *err);

// Frees a configuration and sets `*config` to NULL. *Takes* it. NULL, and one that is freed already, are fine. Never fails.
//
// # Safety
// `config` is NULL or writable.
void fanfare_config_free(fanfare_config **config);

// Describes the option with this index, from 0 on. `FANFARE_AGAIN` when there are no more. Set `key->size` first. Any thread.
//
// # Safety
// `key` is NULL or as `fanfare_key` says; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_config_key(size_t index,
                                  fanfare_key *key,
                                  fanfare_error *err);

// Starts a hub: its threads run and its sockets accept when this returns. *Borrows* `config`; NULL is all defaults, which listen
// on http://127.0.0.1:4780. *Returns owned*: free it with `fanfare_free`.
//
// The hub's threads block every signal, and nothing of the process is changed: no handler, no logger, no environment.
//
// Errors: `INVALID_CONFIG` names the option; `START_FAILED` says which address is taken or which file does not load;
// `NULL_POINTER`, `STALE_HANDLE`, `FORKED`. Nothing is left running then.
//
// # Safety
// `hub` is NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_start(const fanfare_config *config,
                             fanfare_hub **hub,
                             fanfare_error *err);

// Stops: takes no more connections, ends every stream so that its reader resumes elsewhere, spread over `deadline_ms`
// milliseconds, and cuts what is left then. Blocks until threads and sockets are gone. Every subscription and
// host-written stream then has a `FANFARE_ITEM_END` in the queue, which can still be drained; the wake-up is called for them and
// never again after this returns. The handle stays valid until `fanfare_free`. A call while another one stops waits for that to be
// done, for its own deadline at most: `FANFARE_AGAIN` if it is not then. A call after it does nothing. Only the call that stops fills `report`.
//
// `deadline_ms`: 0 cuts at once; `FANFARE_STOP_DEFAULT` is the option `timeouts.stop`. `report` may be NULL.
//
// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`; `DEADLOCK` from inside the wake-up.
//
// # Safety
// `report` is NULL or as `fanfare_stop_report` says; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_stop(fanfare_hub *hub,
                            uint64_t deadline_ms,
                            fanfare_stop_report *report,
                            fanfare_error *err);

// Frees a hub and sets `*hub` to NULL. *Takes* it: stops it at once if it runs. Every id and descriptor of it is invalid
// then; calls that are under way in other threads end safely. NULL, and a hub that is freed already, are fine. In a forked child it only forgets the
// handle. Never fails.
//
// # Safety
// `hub` is NULL or writable.
void fanfare_free(fanfare_hub **hub);

// Where the hub listens, for a client on this machine: `http://127.0.0.1:4780`. The empty text for a handle that names nothing. *Returns
// borrowed*, valid until `fanfare_free`.
const char *fanfare_url(const fanfare_hub *hub);

// Every URL that the hub listens on, plain ones first, a line each. Otherwise as `fanfare_url`.
const char *fanfare_urls(const fanfare_hub *hub);

// Loads an event handler behind those that are there. When this returns, events pass it. *Borrows* everything. `info` (may be NULL)
// gets its name, which has a number behind it if another handler has it already. Compiling takes up to seconds, in which events go on
// without it and a stop waits; calls wait for each other. Any thread.
//
// Errors: `UNSUPPORTED` in a build without handlers, which a default build is; `INVALID_CONFIG` says why the code does not load, and
// options under `handler.` bound what it may do; `INVALID_TOPIC`, `INVALID_PARAMETER`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`,
// `FORKED`, `TOO_NEW`. Nothing has changed then.
//
// # Safety
// `handler` is NULL or as `fanfare_handler` says, with readable views; `info` is NULL or as `fanfare_handler_info` says; `err`
// is NULL or as `fanfare_error` says.
fanfare_status fanfare_load_handler(fanfare_hub *hub,
                                    const fanfare_handler *handler,
                                    fanfare_handler_info *info,
                                    fanfare_error *err);

// Unloads the handler of that name. With `data` its state stays, for the next of its name; else it goes with it. An event that
// is in it right now is finished by it. `FANFARE_AGAIN` if there is none of that name. *Borrows* the name. Any thread.
//
// Errors: `INVALID_PARAMETER` for a name that is no text; `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `name` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_unload_handler(fanfare_hub *hub,
                                      fanfare_str name,
                                      fanfare_error *err);

// Writes the handlers as they are at one moment, in the order in which events pass them, to the array `infos` of `len` of this
// header's `fanfare_handler_info`, of which each says its size. `*count` is how many there are, also if that is more than `len`: with `len` 0 only
// they are counted, and `infos` may be NULL. Any thread; none are left after a stop.
//
// Errors: `INVALID_PARAMETER` when a size is not that of this library's structure; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `infos` is NULL or an array of `len` structures; `count` is NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_get_handlers(const fanfare_hub *hub,
                                    fanfare_handler_info *infos,
                                    size_t len,
                                    size_t *count,
                                    fanfare_error *err);

// Publishes one event. Never waits for a reader. When this returns every reader can see it; nobody has necessarily got it yet.
// *Borrows* everything. `done` may be NULL. Any thread.
//
// Errors: `INVALID_TOPIC`, `INVALID_DATA`, `INVALID_EVENT`, `INVALID_ID`, `INVALID_CLIENT`, `INVALID_KEY`, `INVALID_RETRY`, `TOO_LARGE`, `TOPIC_CLOSED`,
// `LIMIT_TOPICS`, `HANDLER_REFUSED`, `HANDLER_FAILED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`, `TOO_NEW`. Nothing
// has been published then.
//
// # Safety
// `event` is NULL or as `fanfare_event` says, with readable views; `done` is NULL or as `fanfare_published` says; `err` is
// NULL or as `fanfare_error` says.
fanfare_status fanfare_publish(fanfare_hub *hub,
                               const fanfare_event *event,
                               fanfare_published *done,
                               fanfare_error *err);

// Publishes `len` events in one step: all of them or none, with nothing of others in between. `events` is an array of this
// header's `fanfare_event`, as is `done` of `fanfare_published`; `done` may be NULL. On error `*failed` (may be NULL) is the index of
// the event that was refused. Otherwise as `fanfare_publish`.
//
// Errors: also `INVALID_PARAMETER` when the sizes of the structures are not those of this library.
//
// # Safety
// As `fanfare_publish`, for each structure; `failed` is NULL or writable.
fanfare_status fanfare_publish_batch(fanfare_hub *hub,
                                     const fanfare_event *events,
                                     size_t len,
                                     fanfare_published *done,
                                     size_t *failed,
                                     fanfare_error *err);

// Closes a topic: readers get what is retained and end, and nobody can publish to it any more. `FANFARE_AGAIN` if it was closed
// before. With `data` the topic stays closed over restarts, and the call waits for the disk as publishing to the topic does. *Borrows* the name.
//
// Errors: `INVALID_TOPIC`, `LIMIT_TOPICS`, `NOT_STORED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `topic` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_close_topic(fanfare_hub *hub,
                                   fanfare_str topic,
                                   fanfare_error *err);

// Deletes the events that a topic has, in memory and with `data` on disk. They cannot be read from then on; the space on disk is given back
// within seconds. The topic goes on, and one that is closed stays closed. Readers that have not got the events are told by a
// `FANFARE_ITEM_GAP`, also when they come back later. A topic without events is fine. Waits for the disk as publishing to the topic does. *Borrows* the name.
//
// Errors: `INVALID_TOPIC`, `LIMIT_TOPICS`, `NOT_STORED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `topic` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_delete_history(fanfare_hub *hub,
                                      fanfare_str topic,
                                      fanfare_error *err);

// Writes a snapshot. Set `stats->size` first. Any thread; also after a stop.
//
// Errors: `INVALID_PARAMETER` for a size that is none; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `stats` is NULL or as `fanfare_stats` says; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_get_stats(const fanfare_hub *hub,
                                 fanfare_stats *stats,
                                 fanfare_error *err);

// Reads topics in this process. The events come by `fanfare_drain`, or with `FANFARE_ON_DEMAND` by `fanfare_pull`; `*id` names the
// subscription until its `FANFARE_ITEM_END` or `fanfare_unsubscribe`. *Borrows* everything. Any thread.
//
// Errors: `INVALID_TOPIC`, `INVALID_ID`, `INVALID_EVENT`, `INVALID_CLIENT`, `INVALID_PARAMETER`, `LIMIT_TOPICS`; `TOPIC_CLOSED` when there will
// never be anything to read; `HANDLER_REFUSED`, `HANDLER_FAILED`; `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`, `TOO_NEW`. Nothing has changed then.
//
// # Safety
// `options` is NULL or as `fanfare_subscribe_options` says, with readable views; `id` is NULL or writable; `err` is NULL or
// as `fanfare_error` says.
fanfare_status fanfare_subscribe(fanfare_hub *hub,
                                 const fanfare_subscribe_options *options,
                                 uint64_t *id,
                                 fanfare_error *err);

// Reads one more topic on a subscription, from now on. `FANFARE_AGAIN` if it is read already. *Borrows* the name.
//
// Errors: `INVALID_TOPIC`, `LIMIT_TOPICS`, `TOPIC_CLOSED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `topic` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_add_topic(fanfare_hub *hub,
                                 uint64_t id,
                                 fanfare_str topic,
                                 fanfare_error *err);

// Reads a topic no more: nothing of it is given by any drain or pull that begins after this call. `FANFARE_AGAIN` if it was not read.
// A subscription without topics stays open. *Borrows* the name.
//
// Errors: `INVALID_TOPIC`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `topic` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_remove_topic(fanfare_hub *hub,
                                    uint64_t id,
                                    fanfare_str topic,
                                    fanfare_error *err);

// Ends a subscription: its id is stale from now on, and no drain or pull that begins after this call gives anything of it. A
// thread that waits in `fanfare_pull` for it returns with `STALE_HANDLE`. Any thread.
//
// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_unsubscribe(fanfare_hub *hub,
                                   uint64_t id,
                                   fanfare_error *err);

// Gives a connected HTTP/1 socket, whose request the host has read to its end, to the hub, which writes the stream from now on and
// closes the connection when it is over. The socket is TCP or Unix-domain, without TLS of the host's own. *Borrows* `fd`: the hub works on a
// duplicate. After `FANFARE_OK` take your descriptor out of your poller, then close it *without* `shutdown`; after an error it
// is all yours, nothing has been written, and frames that you write yourself (`fanfare_open_stream`) are the other way.
//
// `subscribe` says what the reader gets. `options` may be NULL. `*stream` (may be NULL) names the stream for `fanfare_close_stream` and in its
// `FANFARE_ITEM_END`.
//
// Errors: `UNSUPPORTED` with the reason for a socket that cannot be adopted; `INVALID_PARAMETER` names a header; those of
// `fanfare_subscribe`, of which `TOPIC_CLOSED` is best answered by 204; `INVALID_EVENT`, `INVALID_DATA`, `INVALID_RETRY`, `TOO_LARGE` for a greeting.
//
// # Safety
// `subscribe` and `options` are NULL or as their structures say, with readable views; `stream` is NULL or writable; `err` is
// NULL or as `fanfare_error` says.
fanfare_status fanfare_adopt(fanfare_hub *hub,
                             int fd,
                             const fanfare_subscribe_options *subscribe,
                             const fanfare_adopt_options *options,
                             uint64_t *stream,
                             fanfare_error *err);

// Ends a stream that was adopted or opened, at the next boundary between events. One that is over already is `STALE_HANDLE`. A
// host-written stream is forgotten at once, and gives no `FANFARE_ITEM_END`. Any thread; never blocks.
//
// Errors: `INVALID_PARAMETER` for an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_close_stream(fanfare_hub *hub,
                                    uint64_t stream,
                                    fanfare_error *err);

// Lets a request go on. `grant` may be NULL. `FANFARE_AGAIN` when its time was over and it has
// been refused already. *Borrows* everything. Any thread.
//
// Errors: `INVALID_CLIENT` (the request still waits); `INVALID_PARAMETER` for an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`, `TOO_NEW`.
//
// # Safety
// `grant` is NULL or as its structure says, with readable views; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_accept(fanfare_hub *hub,
                              uint64_t request,
                              const fanfare_grant *grant,
                              fanfare_error *err);

// Refuses a request with an HTTP status of 400 to 599 and a message for its client (absent: a default). `FANFARE_AGAIN` when its time was over
// and it has been refused already. *Borrows* the message. Any thread.
//
// Errors: `INVALID_PARAMETER` for another status (the request still waits) or an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `message` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_reject(fanfare_hub *hub,
                              uint64_t request,
                              uint32_t status,
                              fanfare_str message,
                              fanfare_error *err);

// Opens a stream whose bytes the host writes to its client: where the connection has TLS, is HTTP/2, or gives no socket. `fanfare_pull` gives
// `FANFARE_ITEM_BYTES` with the opening comment, `retry:`, events, gap notices and heartbeats; a `FANFARE_ITEM_READY` comes when there are
// some, first at once. Write them, and pull again when your client has taken them: a slow client then falls behind in history, not in memory.
// Answer with the headers `Content-Type: text/event-stream`, `Cache-Control: no-cache, no-store, no-transform` and `X-Accel-Buffering: no`.
// `fanfare_close_stream` when the client is gone. *Borrows* everything. Any thread.
//
// Errors: those of `fanfare_subscribe`, of which `TOPIC_CLOSED` is best answered by 204; `INVALID_EVENT`, `INVALID_DATA`, `INVALID_RETRY`, `TOO_LARGE` for
// a greeting.
//
// # Safety
// `subscribe` is NULL or as its structure says, with readable views; `stream` is NULL or writable; `err` is NULL or as
// `fanfare_error` says.
fanfare_status fanfare_open_stream(fanfare_hub *hub,
                                   const fanfare_subscribe_options *subscribe,
                                   uint64_t *stream,
                                   fanfare_error *err);

// Ends every stream whose client has this name, of whatever kind: at a boundary between events, or at once where its reader takes
// nothing. Its reader may come back: whoever revokes refuses it then. *Borrows* the name. Any thread; returns when all have been told.
//
// Errors: `INVALID_CLIENT`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `client` is readable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_revoke(fanfare_hub *hub,
                              fanfare_str client,
                              fanfare_error *err);

// The items of a batch: `*items` points to `*count` structures of `item_size` bytes each, in order. Pass
// `sizeof(fanfare_item)`. *Returns borrowed*, valid until the batch is freed. The batch belongs to one thread at a time.
//
// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`; `TOO_NEW` when `item_size` is larger than this library's; `INVALID_PARAMETER`
// when it is no size that the structure ever had.
//
// # Safety
// `items` and `count` are NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_batch_items(const fanfare_batch *batch,
                                   size_t item_size,
                                   const fanfare_item **items,
                                   size_t *count,
                                   fanfare_error *err);

// Frees a batch and sets `*batch` to NULL; every view into it ends. *Takes* it. NULL, and a batch that is freed already, are fine.
// Any thread; never fails.
//
// # Safety
// `batch` is NULL or writable.
void fanfare_batch_free(fanfare_batch **batch);

// A descriptor that polls readable while the hub's queue has something to drain: for poll, epoll, kqueue, asyncio, libuv, GLib.
// Level-triggered. Never read, write or close it; it lives until `fanfare_free`. Opened at the first call.
//
// Errors: `INTERNAL` with `os_errno` when the system gives no descriptor; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `fd` is NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_poll_fd(fanfare_hub *hub,
                               int *fd,
                               fanfare_error *err);

// Sets the wake-up, for loops that cannot watch a descriptor. It is called once when the queue becomes non-empty (at once if it
// is now), and not again before a drain has said `FANFARE_AGAIN`. NULL takes it away: when this returns, the one before is not running and
// never will.
//
// `drop` (may be NULL) is called exactly once with `user`, when the wake-up will not be called any more: replaced, the hub stopped, or this call failed.
//
// Errors: `STOPPING`, `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `wakeup` and `drop` may be called with `user` from any thread; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_set_wakeup(fanfare_hub *hub,
                                  fanfare_wakeup wakeup,
                                  void *user,
                                  fanfare_wakeup drop,
                                  fanfare_error *err);

// Blocks until the queue has something to drain, for a plain loop without a poller. `FANFARE_AGAIN` when `timeout_ms` milliseconds are
// over; `FANFARE_FOREVER` waits for ever. Any thread; several may wait.
//
// Errors: `STOPPING` when the hub has stopped and everything is drained; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_wait(fanfare_hub *hub,
                            uint64_t timeout_ms,
                            fanfare_error *err);

// Takes what the queue has, at most a few thousand items. *Returns owned*: free `*batch` with `fanfare_batch_free`. It is NULL when there
// was nothing. `FANFARE_OK`: there is more, drain again. `FANFARE_AGAIN`: that was all; a wake-up or the descriptor tells when there is
// more. Never blocks. Any thread: each item is given to one of them.
//
// Events of one subscription come in order. Two threads that drain at once get different ones, so order across them is yours to keep.
//
// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `batch` is NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_drain(fanfare_hub *hub,
                             fanfare_batch **batch,
                             fanfare_error *err);

// Reads a subscription of the kind `FANFARE_ON_DEMAND`, or a host-written stream: what is new, about 64 KiB at most. With nothing new it waits up to
// `timeout_ms` milliseconds (0: not at all; `FANFARE_FOREVER`). *Returns owned*: free `*batch` with `fanfare_batch_free`. It is NULL when
// there was nothing.
//
// `FANFARE_OK`: there may be more, pull again. `FANFARE_AGAIN`: that was all; a `FANFARE_ITEM_READY` comes into the queue when there is more. A
// `FANFARE_ITEM_END` is the last item, and the id is stale after it. Any thread, one at a time for each id.
//
// Errors: `INVALID_PARAMETER` for an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
//
// # Safety
// `batch` is NULL or writable; `err` is NULL or as `fanfare_error` says.
fanfare_status fanfare_pull(fanfare_hub *hub,
                            uint64_t id,
                            uint64_t timeout_ms,
                            fanfare_batch **batch,
                            fanfare_error *err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FANFARE_H */

#if !defined(__cplusplus) && !defined(FANFARE_ERROR_INIT)
/* Structures with their size set and everything else at its default. In C++ see fanfare.hpp. */
#define FANFARE_ERROR_INIT { .size = sizeof(fanfare_error) }
#define FANFARE_EVENT_INIT { .size = sizeof(fanfare_event) }
#define FANFARE_PUBLISHED_INIT { .size = sizeof(fanfare_published) }
#define FANFARE_SUBSCRIBE_OPTIONS_INIT { .size = sizeof(fanfare_subscribe_options) }
#define FANFARE_STATS_INIT { .size = sizeof(fanfare_stats) }
#define FANFARE_STOP_REPORT_INIT { .size = sizeof(fanfare_stop_report) }
#define FANFARE_KEY_INIT { .size = sizeof(fanfare_key) }
#define FANFARE_HANDLER_INIT { .size = sizeof(fanfare_handler) }
#define FANFARE_HANDLER_INFO_INIT { .size = sizeof(fanfare_handler_info) }

/* A view of NUL-terminated text; NULL is absent. */
static inline fanfare_str fanfare_text(const char *text)
{
    fanfare_str view = { text, 0 };
    while (text && text[view.len])
        view.len++;
    return view;
}
#endif
