/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Fanfare event handlers in C: this header, your `transform`, and nothing else. No C library is needed.
 *
 *     clang --target=wasm32 -O2 -mbulk-memory -nostdlib -Wl,--no-entry -o handler.wasm handler.c
 *
 * Include it in one source file. Before that, `#define FF_ON_SUBSCRIBE`, `FF_TICK` or `FF_TRANSFORM_BATCH` to have your
 * `on_subscribe`, `tick` or `transform_batch` called as well. It follows the contract fanfare:handler@0.1.0 (wit/handler.wit) by the component
 * model's canonical ABI; the host makes the component.
 *
 * Memory: ff_alloc gives memory until the answer has been read; then everything is freed at once. Texts that the host
 * hands in live as long. Globals last as long as the instance, which may end at any time: keep state in ff_kv_*.
 */
#ifndef FANFARE_HANDLER_H
#define FANFARE_HANDLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* UTF-8, not ended by NUL. */
typedef struct {
    const char *ptr;
    size_t len;
} ff_text;

/* A text that may be absent. */
typedef struct {
    bool is_some;
    ff_text text;
} ff_option;

typedef struct {
    ff_text topic;
    ff_option kind; /* `event:` on the wire */
    ff_option id;   /* absent: the hub gives one */
    ff_text data;
} ff_event;

enum { FF_PASS, FF_DROP, FF_REPLACE, FF_EMIT, FF_REJECT };

/* What becomes of an event: make one with the functions below. */
typedef struct {
    uint8_t kind;
    union {
        ff_text text;
        struct {
            ff_event *ptr;
            size_t len;
        } events;
    };
} ff_outcome;

enum { FF_DEBUG, FF_INFO, FF_WARN, FF_ERROR };

/* Why the store was not changed. */
enum { FF_KV_OK = 0, FF_KV_FULL = 1, FF_KV_INVALID_KEY = 2, FF_KV_NOT_A_NUMBER = 3 };

/* Somebody who wants to read. */
typedef struct {
    struct {
        const ff_text *ptr;
        size_t len;
    } topics; /* those that this handler handles; at least one */
    struct {
        const ff_text *ptr;
        size_t len;
    } kinds;                 /* event types; none means all */
    ff_option client;        /* its name */
    ff_option last_event_id; /* it resumes after this id */
} ff_subscriber;

enum { FF_ADMIT, FF_GREET, FF_REFUSE };

/* What becomes of a subscriber: make one with the functions below. */
typedef ff_outcome ff_welcome;

/* Yours: called for each event, those of one topic one after the other. */
ff_outcome transform(const ff_event *event);

/* Yours, if you define FF_ON_SUBSCRIBE: called for each reader, while no event is under way. */
ff_welcome on_subscribe(const ff_subscriber *subscriber);

/* Yours, if you define FF_TICK: called when time has passed (handler.tick). Stores events and returns how many. */
size_t tick(ff_event **events);

/* Yours, if you define FF_TRANSFORM_BATCH: called for events published in one step. Fills in one outcome for each. */
void transform_batch(const ff_event *events, size_t count, ff_outcome *outcomes);

#define FF_TEXT(literal) ((ff_text){(literal), sizeof(literal) - 1})
#define FF_NONE ((ff_option){false, {NULL, 0}})
#define FF_SOME(value) ((ff_option){true, (value)})

static inline ff_outcome ff_pass(void) { return (ff_outcome){.kind = FF_PASS}; }
static inline ff_outcome ff_drop(void) { return (ff_outcome){.kind = FF_DROP}; }
static inline ff_outcome ff_replace(ff_text data) { return (ff_outcome){.kind = FF_REPLACE, .text = data}; }
static inline ff_outcome ff_reject(ff_text reason) { return (ff_outcome){.kind = FF_REJECT, .text = reason}; }
static inline ff_outcome ff_emit(ff_event *events, size_t count) {
    return (ff_outcome){.kind = FF_EMIT, .events = {events, count}};
}

static inline ff_welcome ff_admit(void) { return (ff_welcome){.kind = FF_ADMIT}; }
static inline ff_welcome ff_refuse(ff_text reason) { return (ff_welcome){.kind = FF_REFUSE, .text = reason}; }
/* These first, then what is published from now on. They have topics of the subscriber's and no id. */
static inline ff_welcome ff_greet(ff_event *events, size_t count) {
    return (ff_welcome){.kind = FF_GREET, .events = {events, count}};
}

/* ---- Memory ---- */

extern unsigned char __heap_base;
static size_t ff_next;

/* Memory for this event, aligned to 8 bytes. Stops the handler when there is no more. */
static void *ff_alloc(size_t bytes) {
    if (ff_next == 0) ff_next = ((size_t)&__heap_base + 7) & ~(size_t)7;
    size_t end = ff_next + ((bytes + 7) & ~(size_t)7);
    size_t have = __builtin_wasm_memory_size(0) * 65536;
    if (end < ff_next) __builtin_trap();
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) / 65536) == (size_t)-1) __builtin_trap();
    void *at = (void *)ff_next;
    ff_next = end;
    return at;
}

__attribute__((export_name("cabi_realloc"))) void *ff_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;
    void *at = ff_alloc(size);
    if (old_size != 0) __builtin_memcpy(at, old, old_size < size ? old_size : size);
    return at;
}

/* ---- The exports ---- */

__attribute__((export_name("transform"))) ff_outcome *ff_transform(
    const char *topic, size_t topic_len, uint32_t has_kind, const char *kind, size_t kind_len, uint32_t has_id,
    const char *id, size_t id_len, const char *data, size_t data_len) {
    ff_event event = {{topic, topic_len}, {has_kind != 0, {kind, kind_len}}, {has_id != 0, {id, id_len}}, {data, data_len}};
    ff_outcome *outcome = ff_alloc(sizeof *outcome);
    *outcome = transform(&event);
    return outcome;
}

__attribute__((export_name("cabi_post_transform"))) void ff_after_transform(ff_outcome *outcome) {
    (void)outcome;
    ff_next = 0;
}

#ifdef FF_ON_SUBSCRIBE
__attribute__((export_name("on-subscribe"))) ff_welcome *ff_on_subscribe(
    const ff_text *topics, size_t topics_len, const ff_text *kinds, size_t kinds_len, uint32_t has_client,
    const char *client, size_t client_len, uint32_t has_last, const char *last, size_t last_len) {
    ff_subscriber subscriber = {
        {topics, topics_len}, {kinds, kinds_len}, {has_client != 0, {client, client_len}}, {has_last != 0, {last, last_len}}};
    ff_welcome *welcome = ff_alloc(sizeof *welcome);
    *welcome = on_subscribe(&subscriber);
    return welcome;
}

__attribute__((export_name("cabi_post_on-subscribe"))) void ff_after_on_subscribe(ff_welcome *welcome) {
    (void)welcome;
    ff_next = 0;
}
#endif

#ifdef FF_TICK
typedef struct {
    ff_event *ptr;
    size_t len;
} ff_events;

__attribute__((export_name("tick"))) ff_events *ff_tick(void) {
    ff_events *made = ff_alloc(sizeof *made);
    made->ptr = NULL;
    made->len = tick(&made->ptr);
    return made;
}

__attribute__((export_name("cabi_post_tick"))) void ff_after_tick(ff_events *made) {
    (void)made;
    ff_next = 0;
}
#endif

#ifdef FF_TRANSFORM_BATCH
typedef struct {
    ff_outcome *ptr;
    size_t len;
} ff_outcomes;

__attribute__((export_name("transform-batch"))) ff_outcomes *ff_transform_batch(const ff_event *events, size_t count) {
    ff_outcomes *made = ff_alloc(sizeof *made);
    made->ptr = ff_alloc(count * sizeof *made->ptr);
    made->len = count;
    transform_batch(events, count, made->ptr);
    return made;
}

__attribute__((export_name("cabi_post_transform-batch"))) void ff_after_transform_batch(ff_outcomes *made) {
    (void)made;
    ff_next = 0;
}
#endif

/* ---- What the host provides ---- */

#define FF_IMPORT(interface, name) \
    __attribute__((import_module("fanfare:handler/" interface "@0.1.0"), import_name(name)))

FF_IMPORT("log", "log") void ff_import_log(uint32_t, const char *, size_t);
FF_IMPORT("config", "get") void ff_import_config_get(const char *, size_t, ff_option *);
FF_IMPORT("clock", "now") uint64_t ff_import_clock_now(void);
FF_IMPORT("kv", "get") void ff_import_kv_get(const char *, size_t, ff_option *);
FF_IMPORT("kv", "set") void ff_import_kv_set(const char *, size_t, const char *, size_t, uint32_t, uint64_t, uint8_t *);
FF_IMPORT("kv", "delete") uint32_t ff_import_kv_delete(const char *, size_t);
FF_IMPORT("kv", "increment")
void ff_import_kv_increment(const char *, size_t, int64_t, uint32_t, uint64_t, void *);
FF_IMPORT("kv", "compare-and-set")
void ff_import_kv_compare_and_set(
    const char *, size_t, uint32_t, const char *, size_t, const char *, size_t, uint32_t, uint64_t, uint8_t *);

/* A line in the hub's log; what goes beyond the limit of a call is cut off. */
static inline void ff_log(uint32_t level, ff_text line) { ff_import_log(level, line.ptr, line.len); }

/* What the operator has set (handler.config). */
static inline ff_option ff_config(ff_text key) {
    ff_option value;
    ff_import_config_get(key.ptr, key.len, &value);
    return value;
}

/* Milliseconds since 1970. */
static inline uint64_t ff_now(void) { return ff_import_clock_now(); }

static inline ff_option ff_kv_get(ff_text key) {
    ff_option value;
    ff_import_kv_get(key.ptr, key.len, &value);
    return value;
}

/* `ttl` in milliseconds, 0 for ever. FF_KV_OK or why not. */
static inline int ff_kv_set(ff_text key, ff_text value, uint64_t ttl) {
    uint8_t result[2];
    ff_import_kv_set(key.ptr, key.len, value.ptr, value.len, ttl != 0, ttl, result);
    return result[0] ? 1 + result[1] : FF_KV_OK;
}

/* Whether it was there. */
static inline bool ff_kv_delete(ff_text key) { return ff_import_kv_delete(key.ptr, key.len) != 0; }

/* Adds, an absent key counting as 0; `ttl` (0 = for ever) applies to a key that this makes. */
static inline int ff_kv_increment(ff_text key, int64_t by, uint64_t ttl, int64_t *sum) {
    struct {
        uint8_t is_error;
        union {
            int64_t sum;
            uint8_t error;
        };
    } result;
    ff_import_kv_increment(key.ptr, key.len, by, ttl != 0, ttl, &result);
    if (result.is_error) return 1 + result.error;
    *sum = result.sum;
    return FF_KV_OK;
}

/* Sets a value if the present one is `expected` (FF_NONE: if there is none); `*done` tells whether it did. */
static inline int ff_kv_compare_and_set(ff_text key, ff_option expected, ff_text value, uint64_t ttl, bool *done) {
    uint8_t result[2];
    ff_import_kv_compare_and_set(
        key.ptr, key.len, expected.is_some, expected.text.ptr, expected.text.len, value.ptr, value.len, ttl != 0, ttl,
        result);
    if (result[0]) return 1 + result[1];
    *done = result[1] != 0;
    return FF_KV_OK;
}

/* ---- Texts ---- */

static inline bool ff_equal(ff_text a, ff_text b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i]) return false;
    return true;
}

/* All of `parts`, one after the other, in new memory. */
static inline ff_text ff_join(const ff_text *parts, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++) len += parts[i].len;
    char *at = ff_alloc(len), *end = at;
    for (size_t i = 0; i < count; i++) {
        __builtin_memcpy(end, parts[i].ptr, parts[i].len);
        end += parts[i].len;
    }
    return (ff_text){at, len};
}

#define FF_JOIN(...) ff_join((ff_text[]){__VA_ARGS__}, sizeof((ff_text[]){__VA_ARGS__}) / sizeof(ff_text))

/* A whole number as text. */
static inline ff_text ff_number(int64_t number) {
    char *end = (char *)ff_alloc(24) + 24, *at = end;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do *--at = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (number < 0) *--at = '-';
    return (ff_text){at, (size_t)(end - at)};
}

#endif
