// Subscriptions, and pulling what they and host-written streams have.
//
// A pull gives one flat array, six values for each item, because making an object for each costs more than the pull itself:
// kind, topic, id, event, data, position. Of an end the second is the name of its reason, of bytes the second is a Buffer.

#include <math.h>
#include <string.h>

#include "addon.h"

#define ITEM_VALUES 6

bool read_id(napi_env env, napi_value value, uint64_t *id)
{
    bool lossless = false;
    if (napi_get_value_bigint_uint64(env, value, id, &lossless) == napi_ok && lossless)
        return true;
    throw_type(env, "the id", "a BigInt that the library has given");
    return false;
}

// Values of one event of a greeting: event, data, retry.
#define GREETING_VALUES 3

static bool read_greeting_event(napi_env env, arena *memory, const napi_value *values, fanfare_event *event)
{
    *event = (fanfare_event)FANFARE_EVENT_INIT;
    if (!read_text(env, memory, values[0], "event", &event->event) || !read_bytes(env, memory, values[1], "data", &event->data))
        return false;
    if (is_absent(env, values[2]))
        return true;
    event->flags = FANFARE_EVENT_RETRY;
    return read_count(env, values[2], "retry", FANFARE_ERR_INVALID_RETRY, &event->retry_ms);
}

static bool read_greeting(napi_env env, arena *memory, napi_value value, fanfare_subscribe_options *reader)
{
    uint32_t length = 0;
    if (is_absent(env, value))
        return true;
    if (napi_get_array_length(env, value, &length) != napi_ok) {
        throw_type(env, "greeting", "an array of events");
        return false;
    }
    size_t count = length / GREETING_VALUES;
    fanfare_event *events = arena_take(env, memory, count, sizeof *events);
    if (!events)
        return false;
    for (size_t index = 0; index < count; index++) {
        napi_value values[GREETING_VALUES];
        for (uint32_t field = 0; field < GREETING_VALUES; field++) {
            if (napi_get_element(env, value, (uint32_t)index * GREETING_VALUES + field, &values[field]) != napi_ok) {
                raise_last(env);
                return false;
            }
        }
        if (!read_greeting_event(env, memory, values, &events[index]))
            return false;
    }
    reader->greeting = events;
    reader->greeting_len = count;
    return true;
}

// `topics, since, replay, client, events, lag, user, greeting`; replay is a number or absent, and Infinity stands for everything.
bool read_reader(napi_env env, arena *memory, const napi_value *arguments, fanfare_subscribe_options *reader)
{
    fanfare_str *topics, *events;
    double replay = 0;
    uint64_t lag;
    *reader = (fanfare_subscribe_options)FANFARE_SUBSCRIBE_OPTIONS_INIT;
    if (!read_texts(env, memory, arguments[0], "topics", &topics, &reader->topics_len)
        || !read_text(env, memory, arguments[1], "since", &reader->last_event_id)
        || !read_text(env, memory, arguments[3], "client", &reader->client)
        || !read_texts(env, memory, arguments[4], "events", &events, &reader->events_len)
        || !read_count(env, arguments[5], "lag", FANFARE_ERR_INVALID_PARAMETER, &lag)
        || !read_count(env, arguments[6], "user", FANFARE_ERR_INVALID_PARAMETER, &reader->user)
        || !read_greeting(env, memory, arguments[7], reader))
        return false;
    reader->topics = topics;
    reader->events = events;
    reader->lag = (uint32_t)lag;
    if (is_absent(env, arguments[2]))
        return true;
    if (napi_get_value_double(env, arguments[2], &replay) == napi_ok && replay == (double)INFINITY) {
        reader->replay = FANFARE_REPLAY_ALL;
        return true;
    }
    return read_count(env, arguments[2], "replay", FANFARE_ERR_INVALID_PARAMETER, &reader->replay);
}

// `subscribe(hub, topics, since, replay, client, events, lag, user, greeting)`: an id. There is no greeting.
napi_value subscribe(napi_env env, napi_callback_info info)
{
    napi_value arguments[1 + READER_ARGUMENTS], value;
    if (!read_arguments(env, info, 1 + READER_ARGUMENTS, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_subscribe_options reader;
    uint64_t id = 0;
    arena memory;
    arena_begin(&memory);
    bool done = read_reader(env, &memory, arguments + 1, &reader);
    if (done) {
        reader.flags = FANFARE_ON_DEMAND;
        if (fanfare_subscribe(hub, &reader, &id, &err) < 0) {
            throw_error(env, &err);
            done = false;
        }
    }
    arena_end(&memory);
    if (!done)
        return NULL;
    TRY(env, napi_create_bigint_uint64(env, id, &value));
    return value;
}

// True, false for one that is gone already, or an exception.
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

// `unsubscribe(hub, id)`: false if it is over already.
napi_value unsubscribe(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    uint64_t id;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub || !read_id(env, arguments[1], &id))
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    return judged(env, fanfare_unsubscribe(hub, id, &err), &err);
}

typedef fanfare_status (*topic_call)(fanfare_hub *, uint64_t, fanfare_str, fanfare_error *);

static napi_value with_topic(napi_env env, napi_callback_info info, topic_call call)
{
    napi_value arguments[3], value = NULL;
    uint64_t id;
    fanfare_str topic;
    if (!read_arguments(env, info, 3, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub || !read_id(env, arguments[1], &id))
        return NULL;
    arena memory;
    arena_begin(&memory);
    if (read_topic(env, &memory, arguments[2], &topic)) {
        fanfare_error err = FANFARE_ERROR_INIT;
        value = judged(env, call(hub, id, topic, &err), &err);
    }
    arena_end(&memory);
    return value;
}

// `addTopic(hub, id, topic)`: false if it is read already, or the subscription is over.
napi_value add_topic(napi_env env, napi_callback_info info)
{
    return with_topic(env, info, fanfare_add_topic);
}

// `removeTopic(hub, id, topic)`: false if it was not read, or the subscription is over.
napi_value remove_topic(napi_env env, napi_callback_info info)
{
    return with_topic(env, info, fanfare_remove_topic);
}

// Texts that mostly repeat from one item to the next: made once.
typedef struct {
    fanfare_str view;
    napi_value value;
} repeated;

static napi_status make_repeated(napi_env env, repeated *last, fanfare_str view, napi_value *value)
{
    napi_status status = napi_ok;
    if (!last->value || last->view.len != view.len || (view.len && memcmp(last->view.ptr, view.ptr, view.len) != 0)) {
        status = make_text(env, view, &last->value);
        last->view = view;
    }
    *value = last->value;
    return status;
}

static napi_status put_event(napi_env env, const fanfare_item *item, repeated *topic, repeated *event, napi_value *values)
{
    const fanfare_str message = { "message", 7 };
    napi_status status = make_repeated(env, topic, item->topic, &values[1]);
    if (status == napi_ok)
        status = napi_create_string_latin1(env, item->id.len ? item->id.ptr : "", item->id.len, &values[2]);
    if (status == napi_ok)
        status = make_repeated(env, event, item->event.ptr ? item->event : message, &values[3]);
    if (status == napi_ok)
        status = make_text(env, item->data, &values[4]);
    return status == napi_ok ? napi_create_double(env, (double)item->position, &values[5]) : status;
}

static napi_value list_items(napi_env env, const fanfare_item *items, size_t count)
{
    napi_value list, undefined;
    repeated topic = { { NULL, 0 }, NULL }, event = { { NULL, 0 }, NULL };
    uint32_t next = 0;
    TRY(env, napi_get_undefined(env, &undefined));
    TRY(env, napi_create_array_with_length(env, count * ITEM_VALUES, &list));
    for (size_t index = 0; index < count; index++) {
        const fanfare_item *item = &items[index];
        napi_value values[ITEM_VALUES] = { undefined, undefined, undefined, undefined, undefined, undefined };
        TRY(env, napi_create_int32(env, item->kind, &values[0]));
        switch (item->kind) {
        case FANFARE_ITEM_EVENT:
        case FANFARE_ITEM_GAP:
            TRY(env, put_event(env, item, &topic, &event, values));
            break;
        case FANFARE_ITEM_END:
            TRY(env, make_text(env, fanfare_text(fanfare_code_name(item->code)), &values[1]));
            break;
        case FANFARE_ITEM_BYTES:
            TRY(env, napi_create_buffer_copy(env, item->data.len, item->data.ptr, NULL, &values[1]));
            break;
        default:
            break;
        }
        for (uint32_t value = 0; value < ITEM_VALUES; value++)
            TRY(env, napi_set_element(env, list, next++, values[value]));
    }
    return list;
}

// `pull(hub, id)`: what is new; null when there is nothing, and READY comes into the queue when there is; an empty array when
// asking again may help. An id that is gone has ended without a reason.
napi_value pull(napi_env env, napi_callback_info info)
{
    napi_value arguments[2], list = NULL;
    uint64_t id;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub || !read_id(env, arguments[1], &id))
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_batch *batch = NULL;
    const fanfare_item *items = NULL;
    size_t count = 0;
    fanfare_status status = fanfare_pull(hub, id, 0, &batch, &err);
    if (status == FANFARE_ERR_STALE_HANDLE) {
        const fanfare_item end = { .kind = FANFARE_ITEM_END };
        return list_items(env, &end, 1);
    }
    if (status < 0 || (batch && fanfare_batch_items(batch, sizeof *items, &items, &count, &err) < 0))
        throw_error(env, &err);
    else if (!batch && status == FANFARE_AGAIN)
        TRY(env, napi_get_null(env, &list));
    else
        list = list_items(env, items, count);
    fanfare_batch_free(&batch);
    return list;
}
