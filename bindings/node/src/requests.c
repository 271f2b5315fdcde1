// Requests to the hub's own listener, which JavaScript decides.

#include "addon.h"

static napi_value list_texts(napi_env env, const fanfare_str *texts, size_t count)
{
    napi_value list, text;
    TRY(env, napi_create_array_with_length(env, count, &list));
    for (size_t index = 0; index < count; index++) {
        TRY(env, make_text(env, texts[index], &text));
        TRY(env, napi_set_element(env, list, (uint32_t)index, text));
    }
    return list;
}

// Names and values in turn. Values are bytes: Latin-1, as Node reads headers.
static napi_value list_headers(napi_env env, const fanfare_header *headers, size_t count)
{
    napi_value list, name, value;
    TRY(env, napi_create_array_with_length(env, 2 * count, &list));
    for (size_t index = 0; index < count; index++) {
        const fanfare_str bytes = headers[index].value;
        TRY(env, make_text(env, headers[index].name, &name));
        TRY(env, napi_create_string_latin1(env, bytes.len ? bytes.ptr : "", bytes.len, &value));
        TRY(env, napi_set_element(env, list, (uint32_t)(2 * index), name));
        TRY(env, napi_set_element(env, list, (uint32_t)(2 * index + 1), value));
    }
    return list;
}

// `action, method, path, query, address, lastEventId, client, topics, headers`; absent texts are undefined.
napi_value list_request(napi_env env, const fanfare_request *request)
{
    const fanfare_str texts[] = {
        request->method, request->path, request->query, request->address, request->last_event_id, request->client,
    };
    napi_value list, value;
    TRY(env, napi_create_array(env, &list));
    TRY(env, napi_create_uint32(env, request->action, &value));
    TRY(env, napi_set_element(env, list, 0, value));
    uint32_t next = 1;
    for (size_t index = 0; index < sizeof texts / sizeof *texts; index++) {
        if (texts[index].ptr)
            TRY(env, make_text(env, texts[index], &value));
        else
            TRY(env, napi_get_undefined(env, &value));
        TRY(env, napi_set_element(env, list, next++, value));
    }
    if (!(value = list_texts(env, request->topics, request->topics_len)))
        return NULL;
    TRY(env, napi_set_element(env, list, next++, value));
    if (!(value = list_headers(env, request->headers, request->headers_len)))
        return NULL;
    TRY(env, napi_set_element(env, list, next, value));
    return list;
}

static napi_value judged(napi_env env, fanfare_status status, const fanfare_error *err)
{
    napi_value value;
    if (status < 0 && status != FANFARE_ERR_STALE_HANDLE) {
        throw_error(env, err);
        return NULL;
    }
    TRY(env, napi_get_boolean(env, status == FANFARE_OK, &value));
    return value;
}

// `accept(hub, request, client)`: false if it was too late.
napi_value accept_request(napi_env env, napi_callback_info info)
{
    napi_value arguments[3], value = NULL;
    uint64_t id;
    if (!read_arguments(env, info, 3, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub || !read_id(env, arguments[1], &id))
        return NULL;
    fanfare_grant grant = { .size = sizeof grant };
    arena memory;
    arena_begin(&memory);
    if (read_text(env, &memory, arguments[2], "client", &grant.client)) {
        fanfare_error err = FANFARE_ERROR_INIT;
        value = judged(env, fanfare_accept(hub, id, &grant, &err), &err);
    }
    arena_end(&memory);
    return value;
}

// `reject(hub, request, status, message)`: false if it was too late.
napi_value reject_request(napi_env env, napi_callback_info info)
{
    napi_value arguments[4], value = NULL;
    uint64_t id, code;
    fanfare_str message;
    if (!read_arguments(env, info, 4, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub || !read_id(env, arguments[1], &id)
        || !read_count(env, arguments[2], "status", FANFARE_ERR_INVALID_PARAMETER, &code))
        return NULL;
    arena memory;
    arena_begin(&memory);
    if (read_text(env, &memory, arguments[3], "message", &message)) {
        fanfare_error err = FANFARE_ERROR_INIT;
        // Too large for the library's number is too large for it in any case.
        uint32_t status = code > UINT32_MAX ? UINT32_MAX : (uint32_t)code;
        value = judged(env, fanfare_reject(hub, id, status, message, &err), &err);
    }
    arena_end(&memory);
    return value;
}
