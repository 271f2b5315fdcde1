// Publishing, closing topics, and the counters.

#include <string.h>

#include "addon.h"

// Values of one event: topic, data, event, id, except, key, retry.
#define EVENT_ARGUMENTS 7

// Of a batch: topic and data of every event.
#define PLAIN 2
// What comes after the data: event, id, except, key, retry.
#define REST 5

static bool read_field(napi_env env, arena *memory, uint32_t field, napi_value value, fanfare_event *event)
{
    switch (field) {
    case 0:
        return read_text(env, memory, value, "event", &event->event);
    case 1:
        return read_text(env, memory, value, "id", &event->id);
    case 2:
        return read_text(env, memory, value, "except", &event->except);
    case 3:
        return read_text(env, memory, value, "key", &event->key);
    default:
        if (is_absent(env, value))
            return true;
        event->flags = FANFARE_EVENT_RETRY;
        return read_count(env, value, "retry", FANFARE_ERR_INVALID_RETRY, &event->retry_ms);
    }
}

static bool read_event(napi_env env, arena *memory, const napi_value *values, fanfare_event *event)
{
    *event = (fanfare_event)FANFARE_EVENT_INIT;
    if (!read_topic(env, memory, values[0], &event->topic)
        || !read_bytes(env, memory, values[1], "data", &event->data))
        return false;
    for (uint32_t field = 0; field < REST; field++)
        if (!read_field(env, memory, field, values[PLAIN + field], event))
            return false;
    return true;
}

// An id is ASCII.
static napi_status make_id(napi_env env, const fanfare_published *done, napi_value *id)
{
    return napi_create_string_latin1(env, done->id, done->id_len, id);
}

// `publish(hub, topic, data, event, id, except, key, retry)`: the id.
napi_value publish(napi_env env, napi_callback_info info)
{
    napi_value arguments[1 + EVENT_ARGUMENTS], id = NULL;
    if (!read_arguments(env, info, 1 + EVENT_ARGUMENTS, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_published done = FANFARE_PUBLISHED_INIT;
    fanfare_event event;
    arena memory;
    arena_begin(&memory);
    if (read_event(env, &memory, arguments + 1, &event)) {
        if (fanfare_publish(hub, &event, &done, &err) < 0)
            throw_error(env, &err);
        else if (done.events > 0 && make_id(env, &done, &id) != napi_ok)
            raise_last(env);
    }
    arena_end(&memory);
    return id;
}

// Adds which event of a batch was refused.
static void throw_in_batch(napi_env env, const fanfare_error *err, size_t failed)
{
    napi_value error = make_error(env, err);
    if (error && set_number(env, error, "index", failed) == napi_ok)
        napi_throw(env, error);
    else
        raise_last(env);
}

static bool read_elements(napi_env env, napi_value list, uint32_t from, uint32_t count, napi_value *values)
{
    for (uint32_t index = 0; index < count; index++) {
        if (napi_get_element(env, list, from + index, &values[index]) != napi_ok) {
            raise_last(env);
            return false;
        }
    }
    return true;
}

// Topic and data of each event; a topic that is undefined is that of the event before.
static bool read_plain(napi_env env, arena *memory, napi_value plain, fanfare_event *events, uint32_t count)
{
    for (uint32_t index = 0; index < count; index++) {
        fanfare_event *event = &events[index];
        napi_valuetype type = napi_undefined;
        napi_value values[PLAIN];
        *event = (fanfare_event)FANFARE_EVENT_INIT;
        if (!read_elements(env, plain, index * PLAIN, PLAIN, values))
            return false;
        napi_typeof(env, values[0], &type);
        if (index > 0 && type == napi_undefined)
            event->topic = events[index - 1].topic;
        else if (!read_topic(env, memory, values[0], &event->topic))
            return false;
        if (!read_bytes(env, memory, values[1], "data", &event->data))
            return false;
    }
    return true;
}

// What only some events have. `places` are of what is in `more`: REST times the event's place, and the field. A type that is undefined
// is the last one that was given.
static bool read_more(napi_env env, arena *memory, napi_value places, napi_value more, fanfare_event *events,
                      uint32_t count)
{
    napi_typedarray_type type = napi_uint8_array;
    napi_value buffer;
    size_t length = 0, offset;
    void *at = NULL;
    if (napi_get_typedarray_info(env, places, &type, &length, &at, &buffer, &offset) != napi_ok
        || type != napi_uint32_array) {
        throw_type(env, "places", "a Uint32Array");
        return false;
    }
    fanfare_str type_before = { NULL, 0 };
    for (uint32_t index = 0; index < length; index++) {
        napi_value value;
        napi_valuetype kind = napi_undefined;
        uint32_t place = ((const uint32_t *)at)[index];
        if (place / REST >= count) {
            throw_type(env, "places", "places of events");
            return false;
        }
        fanfare_event *event = &events[place / REST];
        if (!read_elements(env, more, index, 1, &value))
            return false;
        napi_typeof(env, value, &kind);
        if (place % REST == 0 && kind == napi_undefined)
            event->event = type_before;
        else if (!read_field(env, memory, place % REST, value, event))
            return false;
        if (place % REST == 0)
            type_before = event->event;
    }
    return true;
}

// One string: ids are ASCII without line feeds, which are between them. One that a handler dropped has none.
static napi_value make_ids(napi_env env, arena *memory, const fanfare_published *done, uint32_t count)
{
    napi_value ids;
    size_t length = 0;
    for (uint32_t index = 0; index < count; index++)
        length += done[index].events > 0 ? done[index].id_len + 1 : 1;
    char *joined = arena_take(env, memory, length, 1), *at = joined;
    if (!joined)
        return NULL;
    for (uint32_t index = 0; index < count; index++) {
        if (done[index].events > 0) {
            memcpy(at, done[index].id, done[index].id_len);
            at += done[index].id_len;
        }
        *at++ = '\n';
    }
    TRY(env, napi_create_string_latin1(env, joined, length ? length - 1 : 0, &ids));
    return ids;
}

static napi_value publish_all(napi_env env, arena *memory, fanfare_hub *hub, const napi_value *lists, uint32_t count)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    size_t failed = 0;
    fanfare_event *events = arena_take(env, memory, count, sizeof *events);
    fanfare_published *done = events ? arena_take(env, memory, count, sizeof *done) : NULL;
    if (!done || !read_plain(env, memory, lists[0], events, count)
        || !read_more(env, memory, lists[1], lists[2], events, count))
        return NULL;
    for (uint32_t index = 0; index < count; index++)
        done[index] = (fanfare_published)FANFARE_PUBLISHED_INIT;
    if (fanfare_publish_batch(hub, events, count, done, &failed, &err) < 0) {
        throw_in_batch(env, &err, failed);
        return NULL;
    }
    return make_ids(env, memory, done, count);
}

// `publishBatch(hub, plain, places, more)`: topic and data of each event; what some have besides, see `read_more`. The ids, see `make_ids`.
napi_value publish_batch(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    uint32_t length = 0;
    if (!read_arguments(env, info, 4, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    TRY(env, napi_get_array_length(env, arguments[1], &length));
    arena memory;
    arena_begin(&memory);
    napi_value ids = publish_all(env, &memory, hub, arguments + 1, length / PLAIN);
    arena_end(&memory);
    return ids;
}

// `closeTopic(hub, topic)`: false if it was closed before.
napi_value close_topic(napi_env env, napi_callback_info info)
{
    napi_value arguments[2], closed;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_status status = 0;
    fanfare_str topic;
    arena memory;
    arena_begin(&memory);
    bool done = read_topic(env, &memory, arguments[1], &topic);
    if (done && (status = fanfare_close_topic(hub, topic, &err)) < 0) {
        throw_error(env, &err);
        done = false;
    }
    arena_end(&memory);
    if (!done)
        return NULL;
    TRY(env, napi_get_boolean(env, status == FANFARE_OK, &closed));
    return closed;
}

// `deleteHistory(hub, topic)`
napi_value delete_history(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_str topic;
    arena memory;
    arena_begin(&memory);
    bool read = read_topic(env, &memory, arguments[1], &topic);
    if (read && fanfare_delete_history(hub, topic, &err) < 0)
        throw_error(env, &err);
    arena_end(&memory);
    return NULL;
}

// `stats(hub)`
napi_value stats(napi_env env, napi_callback_info info)
{
    napi_value argument, object;
    if (!read_arguments(env, info, 1, &argument))
        return NULL;
    fanfare_hub *hub = read_hub(env, argument);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_stats now = FANFARE_STATS_INIT;
    if (fanfare_get_stats(hub, &now, &err) < 0) {
        throw_error(env, &err);
        return NULL;
    }
    TRY(env, napi_create_object(env, &object));
    TRY(env, set_number(env, object, "published", now.published));
    TRY(env, set_number(env, object, "publishedBytes", now.published_bytes));
    TRY(env, set_number(env, object, "refused", now.refused));
    TRY(env, set_number(env, object, "dropped", now.dropped));
    TRY(env, set_number(env, object, "gaps", now.gaps));
    TRY(env, set_number(env, object, "lapped", now.lapped));
    TRY(env, set_number(env, object, "historyEvents", now.history_events));
    TRY(env, set_number(env, object, "historyBytes", now.history_bytes));
    TRY(env, set_number(env, object, "topics", now.topics));
    TRY(env, set_number(env, object, "subscriptions", now.subscriptions));
    return object;
}
