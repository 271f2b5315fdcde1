/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The engine of handlers that are a plain .js file: QuickJS, and between it and the contract fanfare:handler@0.1.0 the
 * few hundred lines below. An instance of it asks the hub for its script (script.wit), runs it once, and then calls what
 * it exports. `cargo xtask guests` builds it from source.
 *
 * Limits are the hub's: time, memory, answers and log lines. Only the depth of calls is watched here, so that a script can
 * catch it. Whatever fails ends in `host_fail`, which does not return.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quickjs.h"

/* Of the shadow stack, which the linker makes four times as large; wasm's own stack is the hub's, and holds more. */
#define JS_STACK (128 * 1024)
/* The longest message about a failure. */
#define MESSAGE_BYTES 2048
/* Lines of a stack trace that a message shows. */
#define FRAMES 4

#define MODULE "fanfare:handler"

typedef struct {
    const char *ptr;
    size_t len;
} text;

typedef struct {
    uint32_t is_some;
    text text;
} option;

typedef struct {
    text topic;
    option kind, id;
    text data;
} event;

enum { PASS, DROP, REPLACE, EMIT, REJECT };

typedef struct {
    uint32_t tag;
    const void *ptr;
    size_t len;
} outcome;

_Static_assert(sizeof(event) == 40 && sizeof(outcome) == 12, "the canonical ABI's layout");

#define IMPORT(interface, name) __attribute__((import_module("fanfare:" interface "@0.1.0"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("script/host", "name") void host_name(text *);
IMPORT("script/host", "text") void host_text(text *);
IMPORT("script/host", "fail") void host_fail(uint32_t, const char *, size_t);
IMPORT("handler/log", "log") void host_log(uint32_t, const char *, size_t);
IMPORT("handler/config", "get") void host_config_get(const char *, size_t, option *);
IMPORT("handler/clock", "now") uint64_t host_now(void);
IMPORT("handler/kv", "get") void host_kv_get(const char *, size_t, option *);
IMPORT("handler/kv", "set")
void host_kv_set(const char *, size_t, const char *, size_t, uint32_t, uint64_t, uint8_t *);
IMPORT("handler/kv", "delete") uint32_t host_kv_delete(const char *, size_t);
IMPORT("handler/kv", "increment") void host_kv_increment(const char *, size_t, int64_t, uint32_t, uint64_t, void *);
IMPORT("handler/kv", "compare-and-set")
void host_kv_compare_and_set(
    const char *, size_t, uint32_t, const char *, size_t, const char *, size_t, uint32_t, uint64_t, uint8_t *);

static JSRuntime *runtime;
static JSContext *context;
/* What the script's file is called. */
static char *file_name;
/* Its exports. */
static JSValue transform;
static JSAtom atom_topic, atom_kind, atom_id, atom_data, atom_reject, atom_tag, atom_val;

/* ---- Failing ---- */

enum { THREW, ANSWER };

static _Noreturn void fail(uint32_t failure, const char *message, size_t len) {
    host_fail(failure, message, len);
    __builtin_trap();
}

static _Noreturn void fail_with(uint32_t failure, const char *format, ...) {
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fail(failure, message, len < 0 ? 0 : (size_t)len < sizeof message ? (size_t)len : sizeof message - 1);
}

/* The places of a stack trace, down to the first in the script itself. */
static void append_places(char *message, size_t *len, const char *stack) {
    bool done = false;
    for (int frame = 0; frame < FRAMES && *stack && !done; frame++) {
        size_t line = strcspn(stack, "\n");
        const char *place = stack + strspn(stack, " ");
        size_t place_len = line - (size_t)(place - stack);
        if (place_len > 0 && *len + place_len + 2 < MESSAGE_BYTES) {
            message[(*len)++] = ' ';
            memcpy(message + *len, place, place_len);
            *len += place_len;
        }
        char *end = message + *len;
        *end = 0;
        done = strstr(end - place_len, file_name) != NULL;
        stack += line + (stack[line] == '\n');
    }
}

/* Says in a line what was thrown, and where. */
static _Noreturn void fail_thrown(JSValue thrown) {
    char message[MESSAGE_BYTES];
    size_t len = 0;
    const char *said = JS_ToCString(context, thrown);
    if (said == NULL) {
        JS_FreeValue(context, JS_GetException(context));
        said = "something that has no text";
    }
    len = (size_t)snprintf(message, sizeof message, "%s%s", JS_IsError(thrown) ? "" : "it threw ", said);
    if (len >= sizeof message) len = sizeof message - 1;
    if (JS_IsError(thrown)) {
        JSValue stack = JS_GetPropertyStr(context, thrown, "stack");
        const char *places = JS_IsString(stack) ? JS_ToCString(context, stack) : NULL;
        if (places != NULL) append_places(message, &len, places);
    }
    fail(THREW, message, len);
}

static _Noreturn void fail_exception(void) { fail_thrown(JS_GetException(context)); }

/* Passes a value on, if it is one. */
static JSValue sound(JSValue value) {
    if (JS_IsException(value)) fail_exception();
    return value;
}

/* Runs what waits, and gives what a promise has become. */
static JSValue settled(JSValue value, const char *what) {
    while (JS_IsJobPending(runtime)) {
        JSContext *of_job;
        if (JS_ExecutePendingJob(runtime, &of_job) < 0) fail_exception();
    }
    switch ((int)JS_PromiseState(context, value)) {
    case JS_PROMISE_PENDING:
        fail_with(ANSWER, "%s waits for something that never comes: handlers have no timers and no network", what);
    case JS_PROMISE_FULFILLED:
    case JS_PROMISE_REJECTED: {
        bool rejected = JS_PromiseState(context, value) == JS_PROMISE_REJECTED;
        JSValue result = JS_PromiseResult(context, value);
        JS_FreeValue(context, value);
        if (rejected) fail_thrown(result);
        return result;
    }
    default:
        return value;
    }
}

/* ---- Memory of a call ---- */

/* What a call holds on to until its answer has been read: texts of QuickJS, and memory of malloc. */
static struct {
    const char **texts;
    size_t count, room;
    void *events;
    const char *arguments[4];
} held;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    if (size == 0) return (void *)align;
    void *at = realloc(old_size == 0 ? NULL : old, size);
    if (at == NULL) __builtin_trap();
    return at;
}

/* Of `JS_ToCStringLen`, until the call ends. A lone surrogate, which is no UTF-8, becomes U+FFFD. */
static text hold(JSValueConst value) {
    text made;
    made.ptr = JS_ToCStringLen(context, &made.len, value);
    if (made.ptr == NULL) fail_exception();
    if (held.count == held.room) {
        held.room = held.room * 2 + 16;
        held.texts = realloc(held.texts, held.room * sizeof *held.texts);
        if (held.texts == NULL) __builtin_trap();
    }
    held.texts[held.count++] = made.ptr;
    unsigned char *at = (unsigned char *)made.ptr;
    for (size_t i = 0; i + 2 < made.len; i++)
        if (at[i] == 0xed && at[i + 1] >= 0xa0) memcpy(at + i, "\xef\xbf\xbd", 3);
    return made;
}

static void let_go(void) {
    for (size_t i = 0; i < held.count; i++) JS_FreeCString(context, held.texts[i]);
    held.count = 0;
    free(held.events);
    held.events = NULL;
    for (size_t i = 0; i < 4; i++) {
        free((void *)held.arguments[i]);
        held.arguments[i] = NULL;
    }
}

/* A text of the hub's as a value; the memory is freed. */
static JSValue taken(text from) {
    JSValue value = JS_NewStringLen(context, from.ptr, from.len);
    if (from.len) free((void *)from.ptr);
    return value;
}

/* ---- What scripts import ---- */

/* An argument as text, which is freed by JS_FreeCString; false when an exception is under way. */
static bool argument(JSValueConst value, text *into) {
    into->ptr = JS_ToCStringLen(context, &into->len, value);
    return into->ptr != NULL;
}

/* A time to live: a number of milliseconds, or nothing. */
static bool ttl_of(JSValueConst value, uint32_t *is_some, uint64_t *ttl) {
    double ms;
    *is_some = 0;
    *ttl = 0;
    if (JS_IsUndefined(value) || JS_IsNull(value)) return true;
    if (JS_ToFloat64(context, &ms, value)) return false;
    if (!(ms >= 1 && ms <= 9007199254740991.0)) {
        JS_ThrowRangeError(context, "a time to live is a number of milliseconds, at least 1");
        return false;
    }
    *is_some = 1;
    *ttl = (uint64_t)ms;
    return true;
}

static JSValue kv_refused(uint8_t why) {
    static const char *const causes[] = {
        "the state of this handler is full (handler.state_bytes)",
        "a key has 1 to 255 bytes",
        "the value is not a whole number of 64 bits",
    };
    return JS_ThrowRangeError(context, "%s", causes[why < 3 ? why : 2]);
}

#define ARGUMENT(n) ((n) < count ? values[n] : JS_UNDEFINED)
#define FUNCTION(name) static JSValue name(JSContext *ctx, JSValueConst this, int count, JSValueConst *values)

FUNCTION(config_get) {
    (void)ctx, (void)this;
    text key;
    option value;
    if (!argument(ARGUMENT(0), &key)) return JS_EXCEPTION;
    host_config_get(key.ptr, key.len, &value);
    JS_FreeCString(context, key.ptr);
    return value.is_some & 1 ? taken(value.text) : JS_UNDEFINED;
}

FUNCTION(clock_now) {
    (void)this, (void)count, (void)values;
    return JS_NewInt64(ctx, (int64_t)host_now());
}

FUNCTION(kv_get) {
    (void)ctx, (void)this;
    text key;
    option value;
    if (!argument(ARGUMENT(0), &key)) return JS_EXCEPTION;
    host_kv_get(key.ptr, key.len, &value);
    JS_FreeCString(context, key.ptr);
    return value.is_some & 1 ? taken(value.text) : JS_UNDEFINED;
}

FUNCTION(kv_set) {
    (void)ctx, (void)this;
    text key, value;
    uint32_t has_ttl;
    uint64_t ttl;
    uint8_t result[2];
    if (!ttl_of(ARGUMENT(2), &has_ttl, &ttl) || !argument(ARGUMENT(0), &key)) return JS_EXCEPTION;
    if (!argument(ARGUMENT(1), &value)) {
        JS_FreeCString(context, key.ptr);
        return JS_EXCEPTION;
    }
    host_kv_set(key.ptr, key.len, value.ptr, value.len, has_ttl, ttl, result);
    JS_FreeCString(context, key.ptr);
    JS_FreeCString(context, value.ptr);
    return result[0] ? kv_refused(result[1]) : JS_UNDEFINED;
}

FUNCTION(kv_delete) {
    (void)this;
    text key;
    if (!argument(ARGUMENT(0), &key)) return JS_EXCEPTION;
    uint32_t was_there = host_kv_delete(key.ptr, key.len);
    JS_FreeCString(context, key.ptr);
    return JS_NewBool(ctx, was_there & 1);
}

FUNCTION(kv_increment) {
    (void)this;
    text key;
    double by = 1;
    uint32_t has_ttl;
    uint64_t ttl;
    struct {
        uint32_t is_error;
        union {
            int64_t sum;
            uint8_t error;
        };
    } result;
    if (!JS_IsUndefined(ARGUMENT(1)) && JS_ToFloat64(ctx, &by, values[1])) return JS_EXCEPTION;
    if (!(by >= -9007199254740991.0 && by <= 9007199254740991.0 && (double)(int64_t)by == by))
        return JS_ThrowRangeError(ctx, "kv.increment adds a whole number");
    if (!ttl_of(ARGUMENT(2), &has_ttl, &ttl) || !argument(ARGUMENT(0), &key)) return JS_EXCEPTION;
    host_kv_increment(key.ptr, key.len, (int64_t)by, has_ttl, ttl, &result);
    JS_FreeCString(context, key.ptr);
    if (result.is_error & 1) return kv_refused(result.error);
    if (result.sum > 9007199254740991 || result.sum < -9007199254740991)
        return JS_ThrowRangeError(ctx, "the sum is beyond what a number holds exactly; it has been stored");
    return JS_NewInt64(ctx, result.sum);
}

FUNCTION(kv_compare_and_set) {
    (void)this;
    text key, expected = {NULL, 0}, value;
    bool any = !JS_IsUndefined(ARGUMENT(1)) && !JS_IsNull(ARGUMENT(1));
    uint32_t has_ttl;
    uint64_t ttl;
    uint8_t result[2];
    if (!ttl_of(ARGUMENT(3), &has_ttl, &ttl) || !argument(ARGUMENT(0), &key)) return JS_EXCEPTION;
    if ((any && !argument(values[1], &expected)) || !argument(ARGUMENT(2), &value)) {
        JS_FreeCString(context, key.ptr);
        if (expected.ptr) JS_FreeCString(context, expected.ptr);
        return JS_EXCEPTION;
    }
    host_kv_compare_and_set(
        key.ptr, key.len, any, expected.ptr, expected.len, value.ptr, value.len, has_ttl, ttl, result);
    JS_FreeCString(context, key.ptr);
    JS_FreeCString(context, value.ptr);
    if (expected.ptr) JS_FreeCString(context, expected.ptr);
    return result[0] ? kv_refused(result[1]) : JS_NewBool(ctx, result[1] & 1);
}

/* Writes its arguments in one line: texts as they are, objects as JSON. `level` is the contract's number. */
static JSValue log_line(JSContext *ctx, JSValueConst this, int count, JSValueConst *values, int level) {
    (void)this;
    JSValue line = JS_NewString(ctx, "");
    for (int i = 0; i < count; i++) {
        bool object = JS_IsObject(values[i]) && !JS_IsError(values[i]) && !JS_IsFunction(ctx, values[i]);
        JSValue shown = object ? JS_JSONStringify(ctx, values[i], JS_UNDEFINED, JS_UNDEFINED) : JS_DupValue(ctx, values[i]);
        if (JS_IsException(shown)) {
            JS_FreeValue(ctx, line);
            return JS_EXCEPTION;
        }
        text part, before;
        if (!argument(line, &before)) return JS_EXCEPTION;
        if (!argument(shown, &part)) {
            JS_FreeCString(ctx, before.ptr);
            return JS_EXCEPTION;
        }
        size_t len = before.len + part.len + (i > 0);
        char *joined = malloc(len + 1);
        if (joined == NULL) return JS_ThrowOutOfMemory(ctx);
        memcpy(joined, before.ptr, before.len);
        if (i > 0) joined[before.len] = ' ';
        memcpy(joined + before.len + (i > 0), part.ptr, part.len);
        JS_FreeCString(ctx, before.ptr);
        JS_FreeCString(ctx, part.ptr);
        JS_FreeValue(ctx, shown);
        JS_FreeValue(ctx, line);
        line = JS_NewStringLen(ctx, joined, len);
        free(joined);
        if (JS_IsException(line)) return line;
    }
    text whole;
    if (!argument(line, &whole)) return JS_EXCEPTION;
    JS_FreeValue(ctx, line);
    unsigned char *at = (unsigned char *)whole.ptr;
    for (size_t i = 0; i + 2 < whole.len; i++)
        if (at[i] == 0xed && at[i + 1] >= 0xa0) memcpy(at + i, "\xef\xbf\xbd", 3);
    host_log((uint32_t)level, whole.ptr, whole.len);
    JS_FreeCString(ctx, whole.ptr);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry log_functions[] = {
    JS_CFUNC_MAGIC_DEF("debug", 1, log_line, 0), JS_CFUNC_MAGIC_DEF("info", 1, log_line, 1),
    JS_CFUNC_MAGIC_DEF("log", 1, log_line, 1),   JS_CFUNC_MAGIC_DEF("warn", 1, log_line, 2),
    JS_CFUNC_MAGIC_DEF("error", 1, log_line, 3),
};
static const JSCFunctionListEntry config_functions[] = {JS_CFUNC_DEF("get", 1, config_get)};
static const JSCFunctionListEntry clock_functions[] = {JS_CFUNC_DEF("now", 0, clock_now)};
static const JSCFunctionListEntry kv_functions[] = {
    JS_CFUNC_DEF("get", 1, kv_get),
    JS_CFUNC_DEF("set", 3, kv_set),
    JS_CFUNC_DEF("delete", 1, kv_delete),
    JS_CFUNC_DEF("increment", 3, kv_increment),
    JS_CFUNC_DEF("compareAndSet", 4, kv_compare_and_set),
};

static JSValue object_of(const JSCFunctionListEntry *functions, int count) {
    JSValue object = sound(JS_NewObject(context));
    if (JS_SetPropertyFunctionList(context, object, functions, count) < 0) fail_exception();
    return object;
}

#define OBJECT_OF(functions) object_of(functions, (int)(sizeof(functions) / sizeof(*(functions))))

static int define_module(JSContext *ctx, JSModuleDef *module) {
    JS_SetModuleExport(ctx, module, "log", OBJECT_OF(log_functions));
    JS_SetModuleExport(ctx, module, "config", OBJECT_OF(config_functions));
    JS_SetModuleExport(ctx, module, "clock", OBJECT_OF(clock_functions));
    return JS_SetModuleExport(ctx, module, "kv", OBJECT_OF(kv_functions));
}

static JSModuleDef *load_module(JSContext *ctx, const char *name, void *opaque) {
    (void)opaque;
    JS_ThrowReferenceError(
        ctx, "there is no module '%s' here: a handler is one file, and may import '" MODULE "'", name);
    return NULL;
}

/* ---- Getting ready ---- */

/* A text of the hub's, ended by NUL. */
static char *ended(text from) {
    char *made = malloc(from.len + 1);
    if (made == NULL) __builtin_trap();
    memcpy(made, from.ptr, from.len);
    made[from.len] = 0;
    if (from.len) free((void *)from.ptr);
    return made;
}

static _Noreturn void fail_without_transform(JSValueConst namespace) {
    char names[256] = "nothing";
    size_t len = 0;
    JSPropertyEnum *properties;
    uint32_t count;
    if (JS_GetOwnPropertyNames(context, &properties, &count, namespace, JS_GPN_STRING_MASK) == 0) {
        for (uint32_t i = 0; i < count && len < 128; i++) {
            const char *name = JS_AtomToCString(context, properties[i].atom);
            if (name) len += (size_t)snprintf(names + len, sizeof names - len, "%s%.40s", i ? ", " : "", name);
        }
    }
    fail_with(ANSWER, "%s has no \"export function transform(event)\"; it exports %s", file_name, names);
}

/* No result: what goes wrong is told by `fail`, which knows more about it. */
EXPORT("init") uint8_t *init(void) {
    static uint8_t ok[12];
    text name, source;
    host_name(&name);
    file_name = ended(name);
    host_text(&source);
    size_t source_len = source.len;
    char *source_text = ended(source);

    runtime = JS_NewRuntime();
    context = runtime ? JS_NewContext(runtime) : NULL;
    if (context == NULL) __builtin_trap();
    JS_SetMaxStackSize(runtime, JS_STACK);
    JS_UpdateStackTop(runtime);
    JS_SetModuleLoaderFunc(runtime, NULL, load_module, NULL);
    atom_topic = JS_NewAtom(context, "topic");
    atom_kind = JS_NewAtom(context, "kind");
    atom_id = JS_NewAtom(context, "id");
    atom_data = JS_NewAtom(context, "data");
    atom_reject = JS_NewAtom(context, "reject");
    atom_tag = JS_NewAtom(context, "tag");
    atom_val = JS_NewAtom(context, "val");
    JSModuleDef *module = JS_NewCModule(context, MODULE, define_module);
    static const char *const exports[] = {"log", "config", "clock", "kv"};
    for (size_t i = 0; i < 4; i++) JS_AddModuleExport(context, module, exports[i]);
    JSValue global = JS_GetGlobalObject(context);
    JS_SetPropertyStr(context, global, "console", OBJECT_OF(log_functions));
    JS_FreeValue(context, global);

    JSValue compiled = sound(JS_Eval(
        context, source_text, source_len, file_name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY));
    free(source_text);
    JSModuleDef *script = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(context, settled(sound(JS_EvalFunction(context, compiled)), file_name));
    JSValue namespace = sound(JS_GetModuleNamespace(context, script));
    transform = sound(JS_GetPropertyStr(context, namespace, "transform"));
    if (!JS_IsFunction(context, transform)) fail_without_transform(namespace);
    JS_FreeValue(context, namespace);
    return ok;
}

/* ---- Answers ---- */

/* Payloads are texts; what is none is written as JSON. */
static text payload(JSValueConst value) {
    if (JS_IsString(value)) return hold(value);
    JSValue json = sound(JS_JSONStringify(context, value, JS_UNDEFINED, JS_UNDEFINED));
    if (!JS_IsString(json)) fail_with(ANSWER, "transform made an event whose data is neither text nor JSON");
    text made = hold(json);
    JS_FreeValue(context, json);
    return made;
}

/* An optional field: as it is in the event, unless the answer says otherwise; null means none. */
static option field(JSValueConst object, JSAtom atom, option otherwise, const char *name) {
    JSValue value = sound(JS_GetProperty(context, object, atom));
    option made = otherwise;
    if (JS_IsString(value)) {
        made = (option){1, hold(value)};
    } else if (JS_IsNull(value)) {
        made = (option){0, {NULL, 0}};
    } else if (!JS_IsUndefined(value)) {
        fail_with(ANSWER, "transform made an event whose %s is no text", name);
    }
    JS_FreeValue(context, value);
    return made;
}

/* An event as an object: without a topic or kind it has those of the event that came in. */
static void event_of(JSValueConst object, const event *in, event *made) {
    if (!JS_IsObject(object)) fail_with(ANSWER, "transform answered a list of what are no events");
    option topic = field(object, atom_topic, (option){1, in->topic}, "topic");
    if (!topic.is_some) fail_with(ANSWER, "transform made an event without a topic");
    made->topic = topic.text;
    made->kind = field(object, atom_kind, in->kind, "kind");
    made->id = field(object, atom_id, (option){0, {NULL, 0}}, "id");
    JSValue data = sound(JS_GetProperty(context, object, atom_data));
    if (JS_IsUndefined(data)) fail_with(ANSWER, "transform made an event without data");
    made->data = payload(data);
    JS_FreeValue(context, data);
}

static void emit(JSValueConst list, bool is_list, const event *in, outcome *made) {
    int64_t count = 1;
    if (is_list && JS_GetLength(context, list, &count) < 0) fail_exception();
    /* More than the hub takes from anybody; it says so itself for less. */
    if (count > 100000) fail_with(ANSWER, "transform answered more than 100000 events");
    event *events = calloc(count > 0 ? (size_t)count : 1, sizeof *events);
    if (events == NULL) __builtin_trap();
    held.events = events;
    for (int64_t i = 0; i < count; i++) {
        if (is_list) {
            JSValue each = sound(JS_GetPropertyInt64(context, list, i));
            event_of(each, in, &events[i]);
            JS_FreeValue(context, each);
        } else {
            event_of(list, in, &events[i]);
        }
    }
    *made = (outcome){EMIT, events, (size_t)count};
}

static void text_answer(uint32_t tag, JSValueConst value, const char *what, outcome *made) {
    if (!JS_IsString(value)) fail_with(ANSWER, "transform answered \"%s\" with what is no text", what);
    text said = hold(value);
    *made = (outcome){tag, said.ptr, said.len};
}

/* An answer in the words of the contract: {tag, val}, as handlers that are components give it. */
static void tagged(JSValueConst answer, JSValueConst tag, const event *in, outcome *made) {
    const char *word = hold(tag).ptr;
    JSValue value = sound(JS_GetProperty(context, answer, atom_val));
    if (strcmp(word, "pass") == 0) {
        made->tag = PASS;
    } else if (strcmp(word, "drop") == 0) {
        made->tag = DROP;
    } else if (strcmp(word, "replace") == 0) {
        text_answer(REPLACE, value, word, made);
    } else if (strcmp(word, "reject") == 0) {
        text_answer(REJECT, value, word, made);
    } else if (strcmp(word, "emit") == 0 && JS_IsArray(value)) {
        emit(value, true, in, made);
    } else {
        fail_with(ANSWER, "transform answered the tag \"%.40s\", which is not pass, drop, replace, emit or reject", word);
    }
    JS_FreeValue(context, value);
}

static void answer_of(JSValueConst answer, const event *in, outcome *made) {
    if (JS_IsUndefined(answer)) {
        made->tag = PASS;
    } else if (JS_IsNull(answer)) {
        made->tag = DROP;
    } else if (JS_IsBool(answer)) {
        made->tag = JS_VALUE_GET_BOOL(answer) ? PASS : DROP;
    } else if (JS_IsString(answer)) {
        text_answer(REPLACE, answer, "replace", made);
    } else if (JS_IsArray(answer)) {
        emit(answer, true, in, made);
    } else if (JS_IsObject(answer) && !JS_IsFunction(context, answer)) {
        JSValue reject = sound(JS_GetProperty(context, answer, atom_reject));
        JSValue tag = sound(JS_GetProperty(context, answer, atom_tag));
        if (!JS_IsUndefined(reject)) {
            text_answer(REJECT, reject, "reject", made);
        } else if (JS_IsString(tag)) {
            tagged(answer, tag, in, made);
        } else {
            emit(answer, false, in, made);
        }
        JS_FreeValue(context, reject);
        JS_FreeValue(context, tag);
    } else {
        fail_with(ANSWER, "transform answered what is no answer: it may be nothing, null, a text, an event, a list of events or { reject: '..' }");
    }
}

/* ---- The export ---- */

static void set(JSValueConst object, JSAtom atom, bool is_some, text from) {
    JSValue value = is_some ? sound(JS_NewStringLen(context, from.ptr, from.len)) : JS_NULL;
    if (JS_DefinePropertyValue(context, object, atom, value, JS_PROP_C_W_E) < 0) fail_exception();
}

EXPORT("transform") outcome *transform_event(
    const char *topic, size_t topic_len, uint32_t has_kind, const char *kind, size_t kind_len, uint32_t has_id,
    const char *id, size_t id_len, const char *data, size_t data_len) {
    static outcome made;
    event in = {{topic, topic_len}, {has_kind, {kind, kind_len}}, {has_id, {id, id_len}}, {data, data_len}};
    held.arguments[0] = topic_len ? topic : NULL;
    held.arguments[1] = has_kind && kind_len ? kind : NULL;
    held.arguments[2] = has_id && id_len ? id : NULL;
    held.arguments[3] = data_len ? data : NULL;
    JSValue object = sound(JS_NewObject(context));
    set(object, atom_topic, true, in.topic);
    set(object, atom_kind, has_kind, in.kind.text);
    set(object, atom_id, has_id, in.id.text);
    set(object, atom_data, true, in.data);
    JSValue answer = JS_Call(context, transform, JS_UNDEFINED, 1, (JSValueConst *)&object);
    answer = settled(sound(answer), "transform");
    memset(&made, 0, sizeof made);
    answer_of(answer, &in, &made);
    JS_FreeValue(context, answer);
    JS_FreeValue(context, object);
    return &made;
}

EXPORT("cabi_post_transform") void after_transform(outcome *answer) {
    (void)answer;
    let_go();
}

/* ---- What the C library asks of a system ---- */

/* The time is the contract's; everything else is not there. */
#define SYSTEM(name, ...) int32_t __imported_wasi_snapshot_preview1_##name(__VA_ARGS__)
enum { WASI_BADF = 8, WASI_NOSYS = 52 };

SYSTEM(clock_time_get, int32_t clock, int64_t precision, int32_t into) {
    (void)clock, (void)precision;
    *(uint64_t *)into = host_now() * 1000000;
    return 0;
}
SYSTEM(fd_write, int32_t fd, int32_t parts, int32_t count, int32_t into) {
    (void)fd, (void)parts, (void)count, (void)into;
    return WASI_BADF;
}
int close(int fd) {
    (void)fd;
    return -1;
}
SYSTEM(fd_seek, int32_t fd, int64_t offset, int32_t from, int32_t into) {
    (void)fd, (void)offset, (void)from, (void)into;
    return WASI_BADF;
}
SYSTEM(fd_fdstat_get, int32_t fd, int32_t into) {
    (void)fd, (void)into;
    return WASI_BADF;
}
void __imported_wasi_snapshot_preview1_proc_exit(int32_t status) {
    (void)status;
    __builtin_trap();
}
