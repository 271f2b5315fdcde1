// Streams of browsers: sockets that are handed over, and streams whose bytes JavaScript writes.

#include "addon.h"

// Headers from a flat array of names and values.
static bool read_headers(napi_env env, arena *memory, napi_value value, fanfare_adopt_options *options)
{
    fanfare_str *texts;
    size_t count;
    if (!read_texts(env, memory, value, "headers", &texts, &count))
        return false;
    fanfare_header *headers = arena_take(env, memory, count / 2, sizeof *headers);
    if (!headers)
        return false;
    for (size_t index = 0; index < count / 2; index++)
        headers[index] = (fanfare_header){ texts[2 * index], texts[2 * index + 1] };
    options->headers = headers;
    options->headers_len = count / 2;
    return true;
}

static bool hand_over(napi_env env, arena *memory, fanfare_hub *hub, const napi_value *arguments, uint64_t *stream)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_adopt_options options = { .size = sizeof options };
    fanfare_subscribe_options reader;
    int32_t fd;
    bool http10 = false;
    if (napi_get_value_int32(env, arguments[READER_ARGUMENTS], &fd) != napi_ok
        || napi_get_value_bool(env, arguments[READER_ARGUMENTS + 2], &http10) != napi_ok) {
        throw_type(env, "the socket", "a descriptor and its protocol");
        return false;
    }
    if (!read_reader(env, memory, arguments, &reader)
        || !read_headers(env, memory, arguments[READER_ARGUMENTS + 1], &options))
        return false;
    options.flags = FANFARE_NOTIFY_END | (http10 ? FANFARE_HTTP10 : 0);
    if (fanfare_adopt(hub, fd, &reader, &options, stream, &err) >= 0)
        return true;
    throw_error(env, &err);
    return false;
}

// `adopt(hub, ...reader, fd, headers, http10)`: the stream's id. The library works on a duplicate of the descriptor.
napi_value adopt(napi_env env, napi_callback_info info)
{
    napi_value arguments[1 + READER_ARGUMENTS + 3], value;
    uint64_t stream = 0;
    if (!read_arguments(env, info, 1 + READER_ARGUMENTS + 3, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    arena memory;
    arena_begin(&memory);
    bool done = hand_over(env, &memory, hub, arguments + 1, &stream);
    arena_end(&memory);
    if (!done)
        return NULL;
    TRY(env, napi_create_bigint_uint64(env, stream, &value));
    return value;
}

// `openStream(hub, ...reader)`: the id of a stream that `pull` gives bytes of.
napi_value open_stream(napi_env env, napi_callback_info info)
{
    napi_value arguments[1 + READER_ARGUMENTS], value;
    if (!read_arguments(env, info, 1 + READER_ARGUMENTS, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_subscribe_options reader;
    uint64_t stream = 0;
    arena memory;
    arena_begin(&memory);
    bool done = read_reader(env, &memory, arguments + 1, &reader);
    if (done && fanfare_open_stream(hub, &reader, &stream, &err) < 0) {
        throw_error(env, &err);
        done = false;
    }
    arena_end(&memory);
    if (!done)
        return NULL;
    TRY(env, napi_create_bigint_uint64(env, stream, &value));
    return value;
}

// `closeStream(hub, id)`: false if it is over already.
napi_value close_stream(napi_env env, napi_callback_info info)
{
    napi_value arguments[2], value;
    uint64_t id;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub || !read_id(env, arguments[1], &id))
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_status status = fanfare_close_stream(hub, id, &err);
    if (status < 0 && status != FANFARE_ERR_STALE_HANDLE) {
        throw_error(env, &err);
        return NULL;
    }
    TRY(env, napi_get_boolean(env, status == FANFARE_OK, &value));
    return value;
}

// `revoke(hub, client)`
napi_value revoke(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    fanfare_str client;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    arena memory;
    arena_begin(&memory);
    if (read_text(env, &memory, arguments[1], "client", &client)) {
        fanfare_error err = FANFARE_ERROR_INIT;
        if (fanfare_revoke(hub, client, &err) < 0)
            throw_error(env, &err);
    }
    arena_end(&memory);
    return NULL;
}
