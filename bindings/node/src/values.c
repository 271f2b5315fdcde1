// JavaScript values as views, and the memory behind them.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uchar.h>

#include "addon.h"

struct chunk {
    chunk *next;
    max_align_t bytes[];
};

// Most bytes that one UTF-8 character has: a string cut to fit ends at most three bytes before the end.
#define CHARACTER 4

// Bytes taken at once for short strings.
#define BLOCK (64 * (size_t)1024)

void arena_end(arena *memory)
{
    while (memory->more) {
        chunk *next = memory->more->next;
        free(memory->more);
        memory->more = next;
    }
}

void *arena_take(napi_env env, arena *memory, size_t count, size_t size)
{
    chunk *taken = NULL;
    if (size == 0 || count <= (SIZE_MAX - sizeof(chunk)) / size)
        taken = malloc(sizeof(chunk) + count * size);
    if (!taken) {
        napi_throw_range_error(env, "ERR_OUT_OF_MEMORY", "no memory for the arguments");
        return NULL;
    }
    taken->next = memory->more;
    memory->more = taken;
    return taken->bytes;
}

// Whether a string has half of a surrogate pair, which no UTF-8 stands for.
static bool is_broken(napi_env env, arena *memory, napi_value value)
{
    size_t length = 0;
    if (napi_get_value_string_utf16(env, value, NULL, 0, &length) != napi_ok)
        return true;
    char16_t *units = arena_take(env, memory, length + 1, sizeof *units);
    if (!units || napi_get_value_string_utf16(env, value, units, length + 1, &length) != napi_ok)
        return true;
    for (size_t index = 0; index < length; index++) {
        if ((units[index] & 0xF800) != 0xD800)
            continue;
        bool pair = units[index] < 0xDC00 && index + 1 < length && (units[index + 1] & 0xFC00) == 0xDC00;
        if (!pair)
            return true;
        index++;
    }
    return false;
}

// JavaScript writes U+FFFD for what has no UTF-8. Nobody's text is changed in silence: the library gets bytes that it refuses, with
// the code of the field.
static void keep_broken(napi_env env, arena *memory, napi_value value, fanfare_str *view)
{
    char *at = (char *)view->ptr, *end = at + view->len;
    while ((at = memchr(at, 0xEF, (size_t)(end - at))) && end - at >= 3) {
        if (memcmp(at, "\xEF\xBF\xBD", 3) == 0) {
            if (is_broken(env, memory, value))
                *at = (char)0xFF;
            return;
        }
        at++;
    }
}

// A value that is a string, copied. Its NUL is behind it.
static bool copy_string(napi_env env, arena *memory, napi_value value, fanfare_str *view)
{
    size_t length = 0;
    char *place = memory->place;
    if (memory->room > CHARACTER) {
        if (napi_get_value_string_utf8(env, value, place, memory->room, &length) != napi_ok) {
            raise_last(env);
            return false;
        }
        if (length + CHARACTER < memory->room) {
            memory->place += length + 1;
            memory->room -= length + 1;
            *view = (fanfare_str){ place, length };
            keep_broken(env, memory, value, view);
            return true;
        }
    }
    if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
        raise_last(env);
        return false;
    }
    // A short one begins a block, in which those that come after it have room.
    bool is_short = length < BLOCK / 4;
    place = arena_take(env, memory, is_short ? BLOCK : length + 1, 1);
    if (!place)
        return false;
    if (napi_get_value_string_utf8(env, value, place, length + 1, &length) != napi_ok) {
        raise_last(env);
        return false;
    }
    if (is_short) {
        memory->place = place + length + 1;
        memory->room = BLOCK - length - 1;
    }
    *view = (fanfare_str){ place, length };
    keep_broken(env, memory, value, view);
    return true;
}

bool is_absent(napi_env env, napi_value value)
{
    napi_valuetype type = napi_undefined;
    napi_typeof(env, value, &type);
    return type == napi_undefined || type == napi_null;
}

bool read_text(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str *view)
{
    napi_valuetype type = napi_undefined;
    napi_typeof(env, value, &type);
    switch (type) {
    case napi_string:
        return copy_string(env, memory, value, view);
    case napi_undefined:
    case napi_null:
        *view = (fanfare_str){ NULL, 0 };
        return true;
    default:
        throw_type(env, what, "a string");
        return false;
    }
}

bool read_topic(napi_env env, arena *memory, napi_value value, fanfare_str *view)
{
    if (!read_text(env, memory, value, "topic", view))
        return false;
    if (!view->ptr)
        throw_type(env, "topic", "a string");
    return view->ptr;
}

// The bytes of a Uint8Array; of shared memory a copy, because other threads could change it between check and use.
static bool view_array(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str *view)
{
    bool is_array = false, is_private = false;
    napi_typedarray_type type;
    size_t length = 0, offset;
    void *bytes = NULL;
    napi_value buffer;
    napi_is_typedarray(env, value, &is_array);
    if (!is_array || napi_get_typedarray_info(env, value, &type, &length, &bytes, &buffer, &offset) != napi_ok
        || (type != napi_uint8_array && type != napi_uint8_clamped_array)) {
        throw_type(env, what, "a string, a Buffer or a Uint8Array");
        return false;
    }
    napi_is_arraybuffer(env, buffer, &is_private);
    if (!is_private && length > 0) {
        void *copy = arena_take(env, memory, length, 1);
        if (!copy)
            return false;
        memcpy(copy, bytes, length);
        bytes = copy;
    }
    // An empty array may have no address.
    *view = (fanfare_str){ length ? bytes : "", length };
    return true;
}

bool read_bytes(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str *view)
{
    napi_valuetype type = napi_undefined;
    napi_typeof(env, value, &type);
    if (type == napi_string)
        return copy_string(env, memory, value, view);
    if (type == napi_undefined) {
        *view = (fanfare_str){ NULL, 0 };
        return true;
    }
    return view_array(env, memory, value, what, view);
}

bool read_name(napi_env env, arena *memory, napi_value value, const char *what, fanfare_status code, const char **text)
{
    fanfare_str view;
    if (!read_text(env, memory, value, what, &view))
        return false;
    if (view.ptr && memchr(view.ptr, 0, view.len)) {
        char message[256];
        snprintf(message, sizeof message, "%s (\"%.100s...\") holds a NUL character", what, view.ptr);
        throw_code(env, code, message);
        return false;
    }
    *text = view.ptr;
    return true;
}

bool read_texts(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str **views, size_t *count)
{
    bool is_array = false;
    uint32_t length = 0;
    *views = NULL;
    *count = 0;
    if (is_absent(env, value))
        return true;
    napi_is_array(env, value, &is_array);
    if (!is_array || napi_get_array_length(env, value, &length) != napi_ok) {
        throw_type(env, what, "an array of strings");
        return false;
    }
    *views = arena_take(env, memory, length, sizeof(fanfare_str));
    if (!*views)
        return false;
    for (uint32_t index = 0; index < length; index++) {
        napi_value element;
        if (napi_get_element(env, value, index, &element) != napi_ok) {
            raise_last(env);
            return false;
        }
        if (is_absent(env, element)) {
            throw_type(env, what, "an array of strings");
            return false;
        }
        if (!read_text(env, memory, element, what, &(*views)[index]))
            return false;
    }
    *count = length;
    return true;
}

bool read_count(napi_env env, napi_value value, const char *what, fanfare_status code, uint64_t *count)
{
    double number = NAN;
    char message[160];
    if (napi_get_value_double(env, value, &number) == napi_ok && number >= 0 && number <= 9007199254740991.0
        && number == floor(number)) {
        *count = (uint64_t)number;
        return true;
    }
    snprintf(message, sizeof message, "%s has to be a whole number from 0 to 2^53 - 1", what);
    throw_code(env, code, message);
    return false;
}

bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values)
{
    size_t given = count;
    if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != napi_ok) {
        raise_last(env);
        return false;
    }
    return true;
}

napi_status make_text(napi_env env, fanfare_str view, napi_value *value)
{
    return napi_create_string_utf8(env, view.len ? view.ptr : "", view.len, value);
}

napi_status set_number(napi_env env, napi_value object, const char *name, uint64_t number)
{
    napi_value value;
    napi_status status = napi_create_double(env, (double)number, &value);
    return status == napi_ok ? napi_set_named_property(env, object, name, value) : status;
}
