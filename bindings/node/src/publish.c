// Publishing, closing topics, and the counters.

#include "addon.h"

// Values of one event: topic, data, event, id, except, key, retry.
#define EVENT_ARGUMENTS 7

static bool read_event(napi_env env, arena *memory, const napi_value *values, fanfare_event *event)
{
    *event = (fanfare_event)FANFARE_EVENT_INIT;
    if (!read_topic(env, memory, values[0], &event->topic)
        || !read_bytes(env, memory, values[1], "data", &event->data)
        || !read_text(env, memory, values[2], "event", &event->event)
        || !read_text(env, memory, values[3], "id", &event->id)
        || !read_text(env, memory, values[4], "except", &event->except)
        || !read_text(env, memory, values[5], "key", &event->key))
        return false;
    if (is_absent(env, values[6]))
        return true;
    event->flags = FANFARE_EVENT_RETRY;
    return read_count(env, values[6], "retry", FANFARE_ERR_INVALID_RETRY, &event->retry_ms);
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

static bool read_events(napi_env env, arena *memory, napi_value flat, fanfare_event *events, uint32_t count)
{
    for (uint32_t index = 0; index < count; index++) {
        napi_value values[EVENT_ARGUMENTS];
        for (uint32_t field = 0; field < EVENT_ARGUMENTS; field++) {
            if (napi_get_element(env, flat, index * EVENT_ARGUMENTS + field, &values[field]) != napi_ok) {
                raise_last(env);
                return false;
            }
        }
        if (!read_event(env, memory, values, &events[index]))
            return false;
    }
    return true;
}

static napi_value publish_all(napi_env env, arena *memory, fanfare_hub *hub, napi_value flat, uint32_t count)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    napi_value ids;
    size_t failed = 0;
    fanfare_event *events = arena_take(env, memory, count, sizeof *events);
    fanfare_published *done = events ? arena_take(env, memory, count, sizeof *done) : NULL;
    if (!done || !read_events(env, memory, flat, events, count))
        return NULL;
    for (uint32_t index = 0; index < count; index++)
        done[index] = (fanfare_published)FANFARE_PUBLISHED_INIT;
    if (fanfare_publish_batch(hub, events, count, done, &failed, &err) < 0) {
        throw_in_batch(env, &err, failed);
        return NULL;
    }
    TRY(env, napi_create_array_with_length(env, count, &ids));
    for (uint32_t index = 0; index < count; index++) {
        napi_value id;
        // One that a handler dropped has none.
        if (done[index].events == 0)
            TRY(env, napi_get_undefined(env, &id));
        else
            TRY(env, make_id(env, &done[index], &id));
        TRY(env, napi_set_element(env, ids, index, id));
    }
    return ids;
}

// `publishBatch(hub, flat)`: seven values for each event; an array of ids.
napi_value publish_batch(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    uint32_t length = 0;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    TRY(env, napi_get_array_length(env, arguments[1], &length));
    arena memory;
    arena_begin(&memory);
    napi_value ids = publish_all(env, &memory, hub, arguments[1], length / EVENT_ARGUMENTS);
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
