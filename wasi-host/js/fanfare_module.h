/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What scripts import: the module fanfare:handler, and the console. A part of engine.c, which includes it behind what it
 * needs: failing, and the memory of a call.
 */

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
