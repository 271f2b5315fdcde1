/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The engine of plain .js handlers as a plugin of Extism's: linked with wasi-host/js/engine.c as it is, in place of its hub.
 * Script and event come by the host functions that Extism gives its plugins; QuickJS, the way between values of JavaScript and an event,
 * and the compiler's flags are the same on both sides, so what is left to differ is the host.
 *
 * The script is the configuration value `script`. Events and answers are packed as lib.rs says.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HOST(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
HOST(input_length) uint64_t input_length(void);
HOST(input_load_u8) uint32_t input_load_u8(uint64_t);
HOST(input_load_u64) uint64_t input_load_u64(uint64_t);
HOST(alloc) uint64_t alloc(uint64_t);
HOST(length) uint64_t length(uint64_t);
HOST(load_u8) uint32_t load_u8(uint64_t);
HOST(store_u8) void store_u8(uint64_t, uint32_t);
HOST(store_u64) void store_u64(uint64_t, uint64_t);
HOST(output_set) void output_set(uint64_t, uint64_t);
HOST(error_set) void error_set(uint64_t);
HOST(config_get) uint64_t config_get(uint64_t);

typedef struct {
    const char *ptr;
    size_t len;
} text;

typedef struct {
    uint32_t is_some;
    text text;
} option;

typedef struct {
    uint32_t tag;
    const char *ptr;
    size_t len;
} outcome;

/* Of engine.c. */
uint8_t *init(void);
outcome *transform_event(
    const char *, size_t, uint32_t, const char *, size_t, uint32_t, const char *, size_t, const char *, size_t);
void after_transform(outcome *);

/* Puts bytes where the host sees them, a word at a time as Extism's own kits do, behind a byte if `tag` is one. */
static uint64_t give(int tag, const char *bytes, size_t len, uint64_t *size) {
    size_t before = tag >= 0;
    uint64_t at = alloc(len + before);
    if (before) store_u8(at, (uint32_t)tag);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        store_u64(at + before + i, word);
    }
    for (; i < len; i++) store_u8(at + before + i, (uint8_t)bytes[i]);
    *size = len + before;
    return at;
}

static char *copied(const char *from, size_t len) {
    char *made = malloc(len + 1);
    if (made == NULL) __builtin_trap();
    memcpy(made, from, len);
    return made;
}

/* ---- The hub that engine.c asks for ---- */

void host_name(text *into) {
    static const char name[] = "bench.js";
    *into = (text){copied(name, sizeof name - 1), sizeof name - 1};
}

void host_text(text *into) {
    static const char key[] = "script";
    uint64_t size, found = config_get(give(-1, key, sizeof key - 1, &size));
    if (found == 0) __builtin_trap();
    size_t len = (size_t)length(found);
    char *made = malloc(len + 1);
    if (made == NULL) __builtin_trap();
    for (size_t i = 0; i < len; i++) made[i] = (char)load_u8(found + i);
    *into = (text){made, len};
}

void host_fail(uint32_t failure, const char *message, size_t len) {
    (void)failure;
    uint64_t size;
    error_set(give(-1, message, len, &size));
    __builtin_trap();
}

void host_found(uint32_t on_subscribe, uint32_t tick, uint32_t batch) { (void)on_subscribe, (void)tick, (void)batch; }
void host_log(uint32_t level, const char *line, size_t len) { (void)level, (void)line, (void)len; }
void host_config_get(const char *key, size_t len, option *value) {
    (void)key, (void)len;
    value->is_some = 0;
}
uint64_t host_now(void) { return 0; }
/* The scripts of the bench keep nothing. */
void host_kv_get(const char *key, size_t len, option *value) { host_config_get(key, len, value); }
void host_kv_set(const char *a, size_t b, const char *c, size_t d, uint32_t e, uint64_t f, uint8_t *g) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g;
    __builtin_trap();
}
uint32_t host_kv_delete(const char *a, size_t b) {
    (void)a, (void)b;
    __builtin_trap();
}
void host_kv_increment(const char *a, size_t b, int64_t c, uint32_t d, uint64_t e, void *f) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    __builtin_trap();
}
void host_kv_compare_and_set(
    const char *a, size_t b, uint32_t c, const char *d, size_t e, const char *f, size_t g, uint32_t h, uint64_t i,
    uint8_t *j) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h, (void)i, (void)j;
    __builtin_trap();
}

/* ---- What the host calls ---- */

/* The next field of an event, in memory of its own, which the engine lets go. */
static option next(const char *packed, size_t field, size_t *at) {
    uint32_t len;
    memcpy(&len, packed + 4 * field, 4);
    if (len == UINT32_MAX) return (option){0, {NULL, 0}};
    option made = {1, {copied(packed + *at, len), len}};
    *at += len;
    return made;
}

__attribute__((export_name("handle"))) int32_t handle(void) {
    static char *packed;
    static size_t room;
    if (room == 0) init();
    size_t len = (size_t)input_length();
    if (len + 1 > room) {
        room = len + 1;
        packed = realloc(packed, room);
        if (packed == NULL) __builtin_trap();
    }
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word = input_load_u64(i);
        memcpy(packed + i, &word, 8);
    }
    for (; i < len; i++) packed[i] = (char)input_load_u8(i);
    size_t at = 16;
    option topic = next(packed, 0, &at), kind = next(packed, 1, &at), id = next(packed, 2, &at),
           data = next(packed, 3, &at);
    outcome *made = transform_event(
        topic.text.ptr, topic.text.len, kind.is_some, kind.text.ptr, kind.text.len, id.is_some, id.text.ptr, id.text.len,
        data.text.ptr, data.text.len);
    /* Text goes with new data and with a refusal, and with nothing else that the bench's scripts answer. */
    int has_text = made->tag == 2 || made->tag == 4;
    uint64_t size, answer = give((int)made->tag, made->ptr, has_text ? made->len : 0, &size);
    output_set(answer, size);
    after_transform(made);
    return 0;
}
