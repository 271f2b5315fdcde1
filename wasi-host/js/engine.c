/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The engine of handlers that are a plain .js file: QuickJS, and between it and the contract fanfare:handler@0.1.0 the
 * few hundred lines below. An instance of it asks the hub for its script (script.wit), runs it once, and then calls what
 * it exports. `cargo xtask guests` builds it from source.
 *
 * Limits are the hub's: time, memory, answers and log lines. Only the depth of calls is watched here, so that a script can
 * catch it. Whatever fails ends in `host_fail`, which does not return.
 *
 * Long because: all of it is the way between values of JavaScript and the canonical ABI, over one set of small helpers; what scripts
 * import is in fanfare_module.h.
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

enum { ADMIT, GREET, REFUSE };

/* Also a welcome: both are three words, the second and third a text or a list of events. */
typedef struct {
    uint32_t tag;
    const void *ptr;
    size_t len;
} outcome;

typedef struct {
    const void *ptr;
    size_t len;
} list;

_Static_assert(sizeof(event) == 40 && sizeof(outcome) == 12, "the canonical ABI's layout");

#define IMPORT(interface, name) __attribute__((import_module("fanfare:" interface "@0.1.0"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("script/host", "name") void host_name(text *);
IMPORT("script/host", "text") void host_text(text *);
IMPORT("script/host", "found") void host_found(uint32_t, uint32_t, uint32_t);
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
/* Its exports; those that it does without are undefined. */
static JSValue transform, on_subscribe, tick, transform_batch;
/* Which of them is called, for messages. */
static const char *called = "transform";
static JSAtom atom_topic, atom_kind, atom_id, atom_data, atom_reject, atom_tag, atom_val;
static JSAtom atom_topics, atom_kinds, atom_client, atom_last_event_id, atom_refuse;

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
    size_t texts_count, texts_room;
    void **blocks;
    size_t blocks_count, blocks_room;
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
    if (held.texts_count == held.texts_room) {
        held.texts_room = held.texts_room * 2 + 16;
        held.texts = realloc(held.texts, held.texts_room * sizeof *held.texts);
        if (held.texts == NULL) __builtin_trap();
    }
    held.texts[held.texts_count++] = made.ptr;
    unsigned char *at = (unsigned char *)made.ptr;
    for (size_t i = 0; i + 2 < made.len; i++)
        if (at[i] == 0xed && at[i + 1] >= 0xa0) memcpy(at + i, "\xef\xbf\xbd", 3);
    return made;
}

/* Memory of malloc, until the call ends. What has no bytes is no memory. */
static void hold_block(const void *at, size_t bytes) {
    if (bytes == 0) return;
    if (held.blocks_count == held.blocks_room) {
        held.blocks_room = held.blocks_room * 2 + 16;
        held.blocks = realloc(held.blocks, held.blocks_room * sizeof *held.blocks);
        if (held.blocks == NULL) __builtin_trap();
    }
    held.blocks[held.blocks_count++] = (void *)at;
}

static void hold_option(option from) {
    if (from.is_some & 1) hold_block(from.text.ptr, from.text.len);
}

/* New memory of zeros, until the call ends. */
static void *hold_new(size_t count, size_t bytes) {
    if (count == 0) return NULL;
    void *made = calloc(count, bytes);
    if (made == NULL) __builtin_trap();
    hold_block(made, count * bytes);
    return made;
}

static void let_go(void) {
    for (size_t i = 0; i < held.texts_count; i++) JS_FreeCString(context, held.texts[i]);
    held.texts_count = 0;
    for (size_t i = 0; i < held.blocks_count; i++) free(held.blocks[i]);
    held.blocks_count = 0;
}

/* A text of the hub's as a value; the memory is freed. */
static JSValue taken(text from) {
    JSValue value = JS_NewStringLen(context, from.ptr, from.len);
    if (from.len) free((void *)from.ptr);
    return value;
}

#include "fanfare_module.h"

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

/* An export that a script may do without; one that is no function is a mistake that nobody would notice. */
static JSValue optional_export(JSValueConst namespace, const char *name) {
    JSValue found = sound(JS_GetPropertyStr(context, namespace, name));
    if (!JS_IsUndefined(found) && !JS_IsFunction(context, found))
        fail_with(ANSWER, "%s exports \"%s\", which is no function", file_name, name);
    return found;
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
    atom_topics = JS_NewAtom(context, "topics");
    atom_kinds = JS_NewAtom(context, "kinds");
    atom_client = JS_NewAtom(context, "client");
    atom_last_event_id = JS_NewAtom(context, "lastEventId");
    atom_refuse = JS_NewAtom(context, "refuse");
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
    on_subscribe = optional_export(namespace, "onSubscribe");
    tick = optional_export(namespace, "tick");
    transform_batch = optional_export(namespace, "transformBatch");
    host_found(!JS_IsUndefined(on_subscribe), !JS_IsUndefined(tick), !JS_IsUndefined(transform_batch));
    JS_FreeValue(context, namespace);
    return ok;
}

/* ---- Answers ---- */

/* Payloads are texts; what is none is written as JSON. */
static text payload(JSValueConst value) {
    if (JS_IsString(value)) return hold(value);
    JSValue json = sound(JS_JSONStringify(context, value, JS_UNDEFINED, JS_UNDEFINED));
    if (!JS_IsString(json)) fail_with(ANSWER, "%s made an event whose data is neither text nor JSON", called);
    text made = hold(json);
    JS_FreeValue(context, json);
    return made;
}

/* An optional field: `otherwise`, unless the answer says something; null means none. */
static option field(JSValueConst object, JSAtom atom, option otherwise, const char *name) {
    JSValue value = sound(JS_GetProperty(context, object, atom));
    option made = otherwise;
    if (JS_IsString(value)) {
        made = (option){1, hold(value)};
    } else if (JS_IsNull(value)) {
        made = (option){0, {NULL, 0}};
    } else if (!JS_IsUndefined(value)) {
        fail_with(ANSWER, "%s made an event whose %s is no text", called, name);
    }
    JS_FreeValue(context, value);
    return made;
}

/* What an event has that says nothing about it: topic and kind of the event that came in, or a reader's topic. */
typedef struct {
    option topic, kind;
} defaults;

static void event_of(JSValueConst object, const defaults *otherwise, event *made) {
    if (!JS_IsObject(object)) fail_with(ANSWER, "%s answered a list of what are no events", called);
    option topic = field(object, atom_topic, otherwise->topic, "topic");
    if (!topic.is_some) fail_with(ANSWER, "%s made an event without a topic", called);
    made->topic = topic.text;
    made->kind = field(object, atom_kind, otherwise->kind, "kind");
    made->id = field(object, atom_id, (option){0, {NULL, 0}}, "id");
    JSValue data = sound(JS_GetProperty(context, object, atom_data));
    if (JS_IsUndefined(data)) fail_with(ANSWER, "%s made an event without data", called);
    made->data = payload(data);
    JS_FreeValue(context, data);
}

/* The length of a list, which is no more than the hub takes from anybody; it says so itself for less. */
static size_t length_of(JSValueConst value, const char *what) {
    int64_t count;
    if (JS_GetLength(context, value, &count) < 0) fail_exception();
    if (count > 100000) fail_with(ANSWER, "%s answered more than 100000 %s", called, what);
    return (size_t)count;
}

/* An event, or a list of them. */
static list events_of(JSValueConst value, const defaults *otherwise) {
    bool many = JS_IsArray(value);
    size_t count = many ? length_of(value, "events") : 1;
    event *events = hold_new(count, sizeof *events);
    for (size_t i = 0; i < count; i++) {
        JSValue each = many ? sound(JS_GetPropertyInt64(context, value, (int64_t)i)) : JS_DupValue(context, value);
        event_of(each, otherwise, &events[i]);
        JS_FreeValue(context, each);
    }
    return (list){events, count};
}

static outcome answer_of_events(uint32_t tag, JSValueConst value, const defaults *otherwise) {
    list events = events_of(value, otherwise);
    return (outcome){tag, events.ptr, events.len};
}

static outcome answer_of_text(uint32_t tag, JSValueConst value, const char *what) {
    if (!JS_IsString(value)) fail_with(ANSWER, "%s answered \"%s\" with what is no text", called, what);
    text said = hold(value);
    return (outcome){tag, said.ptr, said.len};
}

static bool is_plain_object(JSValueConst value) { return JS_IsObject(value) && !JS_IsFunction(context, value); }

/* An answer in the words of the contract: {tag, val}, as handlers that are components give it. */
static outcome tagged(JSValueConst answer, JSValueConst tag, const defaults *otherwise) {
    const char *word = hold(tag).ptr;
    JSValue value = sound(JS_GetProperty(context, answer, atom_val));
    outcome made = {PASS, NULL, 0};
    if (strcmp(word, "drop") == 0) {
        made.tag = DROP;
    } else if (strcmp(word, "replace") == 0) {
        made = answer_of_text(REPLACE, value, word);
    } else if (strcmp(word, "reject") == 0) {
        made = answer_of_text(REJECT, value, word);
    } else if (strcmp(word, "emit") == 0 && JS_IsArray(value)) {
        made = answer_of_events(EMIT, value, otherwise);
    } else if (strcmp(word, "pass") != 0) {
        fail_with(ANSWER, "%s answered the tag \"%.40s\", which is not pass, drop, replace, emit or reject", called, word);
    }
    JS_FreeValue(context, value);
    return made;
}

/* About an event. */
static outcome outcome_of(JSValueConst answer, const defaults *otherwise) {
    if (JS_IsUndefined(answer)) return (outcome){PASS, NULL, 0};
    if (JS_IsNull(answer)) return (outcome){DROP, NULL, 0};
    if (JS_IsBool(answer)) return (outcome){JS_VALUE_GET_BOOL(answer) ? PASS : DROP, NULL, 0};
    if (JS_IsString(answer)) return answer_of_text(REPLACE, answer, "replace");
    if (JS_IsArray(answer)) return answer_of_events(EMIT, answer, otherwise);
    if (!is_plain_object(answer))
        fail_with(ANSWER, "%s answered what is no answer: it may be nothing, null, a text, an event, a list of events or { reject: '..' }", called);
    JSValue reject = sound(JS_GetProperty(context, answer, atom_reject));
    JSValue tag = sound(JS_GetProperty(context, answer, atom_tag));
    outcome made = !JS_IsUndefined(reject) ? answer_of_text(REJECT, reject, "reject")
                   : JS_IsString(tag)      ? tagged(answer, tag, otherwise)
                                           : answer_of_events(EMIT, answer, otherwise);
    JS_FreeValue(context, reject);
    JS_FreeValue(context, tag);
    return made;
}

/* About a reader. Whatever is not clearly a welcome is a fault, which lets nobody in. */
static outcome welcome_of(JSValueConst answer, const defaults *otherwise) {
    if (JS_IsUndefined(answer) || (JS_IsBool(answer) && JS_VALUE_GET_BOOL(answer))) return (outcome){ADMIT, NULL, 0};
    if (JS_IsArray(answer)) return answer_of_events(GREET, answer, otherwise);
    if (!is_plain_object(answer))
        fail_with(ANSWER, "%s answered what is no answer: it may be nothing, true, an event, a list of events or { refuse: '..' }", called);
    JSValue refuse = sound(JS_GetProperty(context, answer, atom_refuse));
    JSValue tag = sound(JS_GetProperty(context, answer, atom_tag));
    outcome made = {ADMIT, NULL, 0};
    if (!JS_IsUndefined(refuse)) {
        made = answer_of_text(REFUSE, refuse, "refuse");
    } else if (JS_IsString(tag)) {
        const char *word = hold(tag).ptr;
        JSValue value = sound(JS_GetProperty(context, answer, atom_val));
        if (strcmp(word, "refuse") == 0) {
            made = answer_of_text(REFUSE, value, word);
        } else if (strcmp(word, "greet") == 0 && JS_IsArray(value)) {
            made = answer_of_events(GREET, value, otherwise);
        } else if (strcmp(word, "admit") != 0) {
            fail_with(ANSWER, "%s answered the tag \"%.40s\", which is not admit, greet or refuse", called, word);
        }
        JS_FreeValue(context, value);
    } else {
        made = answer_of_events(GREET, answer, otherwise);
    }
    JS_FreeValue(context, refuse);
    JS_FreeValue(context, tag);
    return made;
}

/* ---- The exports ---- */

static void define(JSValueConst object, JSAtom atom, JSValue value) {
    if (JS_DefinePropertyValue(context, object, atom, sound(value), JS_PROP_C_W_E) < 0) fail_exception();
}

static JSValue value_of(option from) {
    return from.is_some & 1 ? JS_NewStringLen(context, from.text.ptr, from.text.len) : JS_NULL;
}

static JSValue array_of_texts(const text *texts, size_t count) {
    JSValue array = sound(JS_NewArray(context));
    for (size_t i = 0; i < count; i++) {
        JSValue each = sound(JS_NewStringLen(context, texts[i].ptr, texts[i].len));
        if (JS_DefinePropertyValueUint32(context, array, (uint32_t)i, each, JS_PROP_C_W_E) < 0) fail_exception();
    }
    return array;
}

/* An event as scripts see it. Its memory is held. */
static JSValue event_as_value(const event *in) {
    hold_block(in->topic.ptr, in->topic.len);
    hold_option(in->kind);
    hold_option(in->id);
    hold_block(in->data.ptr, in->data.len);
    JSValue object = sound(JS_NewObject(context));
    define(object, atom_topic, value_of((option){1, in->topic}));
    define(object, atom_kind, value_of(in->kind));
    define(object, atom_id, value_of(in->id));
    define(object, atom_data, value_of((option){1, in->data}));
    return object;
}

/* Calls a function of the script with one argument or none, and frees that. */
static JSValue call(const char *name, JSValueConst function, int count, JSValue with) {
    called = name;
    JSValue answer = sound(JS_Call(context, function, JS_UNDEFINED, count, (JSValueConst *)&with));
    answer = settled(answer, name);
    JS_FreeValue(context, with);
    return answer;
}

EXPORT("transform") outcome *transform_event(
    const char *topic, size_t topic_len, uint32_t has_kind, const char *kind, size_t kind_len, uint32_t has_id,
    const char *id, size_t id_len, const char *data, size_t data_len) {
    static outcome made;
    event in = {{topic, topic_len}, {has_kind, {kind, kind_len}}, {has_id, {id, id_len}}, {data, data_len}};
    JSValue answer = call("transform", transform, 1, event_as_value(&in));
    defaults otherwise = {{1, in.topic}, in.kind};
    made = outcome_of(answer, &otherwise);
    JS_FreeValue(context, answer);
    return &made;
}

EXPORT("cabi_post_transform") void after_transform(outcome *answer) {
    (void)answer;
    let_go();
}

/* The hub calls what has been found, and no more. */
EXPORT("transform-batch") list *transform_events(event *events, size_t count) {
    static list made;
    hold_block(events, count * sizeof *events);
    JSValue array = sound(JS_NewArray(context));
    for (size_t i = 0; i < count; i++) {
        JSValue each = event_as_value(&events[i]);
        if (JS_DefinePropertyValueUint32(context, array, (uint32_t)i, each, JS_PROP_C_W_E) < 0) fail_exception();
    }
    JSValue answers = call("transformBatch", transform_batch, 1, array);
    if (!JS_IsArray(answers)) fail_with(ANSWER, "%s answered no list: it answers one answer for each event", called);
    size_t answered = length_of(answers, "answers");
    if (answered != count)
        fail_with(ANSWER, "%s answered %zu answers to %zu events", called, answered, count);
    outcome *outcomes = hold_new(count, sizeof *outcomes);
    for (size_t i = 0; i < count; i++) {
        JSValue answer = sound(JS_GetPropertyInt64(context, answers, (int64_t)i));
        defaults otherwise = {{1, events[i].topic}, events[i].kind};
        outcomes[i] = outcome_of(answer, &otherwise);
        JS_FreeValue(context, answer);
    }
    JS_FreeValue(context, answers);
    made = (list){outcomes, count};
    return &made;
}

EXPORT("cabi_post_transform-batch") void after_transform_batch(list *answers) {
    (void)answers;
    let_go();
}

EXPORT("on-subscribe") outcome *welcome_subscriber(
    const text *topics, size_t topics_len, const text *kinds, size_t kinds_len, uint32_t has_client, const char *client,
    size_t client_len, uint32_t has_last, const char *last, size_t last_len) {
    static outcome made;
    option name = {has_client, {client, client_len}}, last_event_id = {has_last, {last, last_len}};
    for (size_t i = 0; i < topics_len; i++) hold_block(topics[i].ptr, topics[i].len);
    for (size_t i = 0; i < kinds_len; i++) hold_block(kinds[i].ptr, kinds[i].len);
    hold_block(topics, topics_len * sizeof *topics);
    hold_block(kinds, kinds_len * sizeof *kinds);
    hold_option(name);
    hold_option(last_event_id);
    JSValue object = sound(JS_NewObject(context));
    define(object, atom_topics, array_of_texts(topics, topics_len));
    define(object, atom_kinds, array_of_texts(kinds, kinds_len));
    define(object, atom_client, value_of(name));
    define(object, atom_last_event_id, value_of(last_event_id));
    JSValue answer = call("onSubscribe", on_subscribe, 1, object);
    /* Of several topics, which one a greeting means has to be said. */
    defaults otherwise = {{topics_len == 1, topics_len == 1 ? topics[0] : (text){NULL, 0}}, {0, {NULL, 0}}};
    made = welcome_of(answer, &otherwise);
    JS_FreeValue(context, answer);
    return &made;
}

EXPORT("cabi_post_on-subscribe") void after_on_subscribe(outcome *answer) {
    (void)answer;
    let_go();
}

EXPORT("tick") list *time_has_passed(void) {
    static list made;
    JSValue answer = call("tick", tick, 0, JS_UNDEFINED);
    made = (list){NULL, 0};
    if (is_plain_object(answer)) {
        defaults none = {{0, {NULL, 0}}, {0, {NULL, 0}}};
        made = events_of(answer, &none);
    } else if (!JS_IsUndefined(answer) && !JS_IsNull(answer)) {
        fail_with(ANSWER, "%s answered what is no answer: it may be nothing, an event or a list of events", called);
    }
    JS_FreeValue(context, answer);
    return &made;
}

EXPORT("cabi_post_tick") void after_tick(list *events) {
    (void)events;
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
