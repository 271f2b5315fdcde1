// Event handlers. Loading compiles, so it runs on a thread of Node's pool; the hub is a handle that is looked up, and one that
// has been freed meanwhile is an error.

#include <stdlib.h>
#include <string.h>

#include "addon.h"

// A handler that is being loaded, with its texts behind it.
typedef struct {
    fanfare_hub *hub;
    fanfare_handler handler;
    fanfare_handler_info info;
    fanfare_status status;
    fanfare_error err;
    napi_async_work work;
    napi_deferred deferred;
    char texts[];
} loading;

// On a thread of the pool.
static void run_loading(napi_env env, void *data)
{
    (void)env;
    loading *job = data;
    job->status = fanfare_load_handler(job->hub, &job->handler, &job->info, &job->err);
}

static void finish_loading(napi_env env, napi_status status, void *data)
{
    loading *job = data;
    napi_value value = NULL;
    const fanfare_str name = { job->info.name, job->info.name_len };
    if (status == napi_ok && job->status >= 0 && make_text(env, name, &value) != napi_ok)
        raise_last(env);
    settle(env, job->deferred, value, status == napi_ok && job->status < 0 ? &job->err : NULL);
    napi_delete_async_work(env, job->work);
    free(job);
}

// A view into the job's own memory.
static fanfare_str keep(char **at, fanfare_str text)
{
    if (!text.ptr)
        return text;
    memcpy(*at, text.ptr, text.len);
    fanfare_str kept = { *at, text.len };
    *at += text.len;
    return kept;
}

static napi_value begin_loading(napi_env env, fanfare_hub *hub, const fanfare_handler *handler)
{
    napi_value label, promise = NULL;
    const size_t texts = handler->topics.len + handler->file.len + handler->bytes.len + handler->name.len
        + handler->settings.len;
    loading *job = calloc(1, sizeof *job + texts + 1);
    if (!job) {
        napi_throw_error(env, "ERR_OUT_OF_MEMORY", "no memory for a handler");
        return NULL;
    }
    char *at = job->texts;
    job->hub = hub;
    job->handler.size = sizeof job->handler;
    job->handler.topics = keep(&at, handler->topics);
    job->handler.file = keep(&at, handler->file);
    job->handler.bytes = keep(&at, handler->bytes);
    job->handler.name = keep(&at, handler->name);
    job->handler.settings = keep(&at, handler->settings);
    job->info.size = sizeof job->info;
    job->err.size = sizeof job->err;
    if (napi_create_string_latin1(env, "fanfare", NAPI_AUTO_LENGTH, &label) == napi_ok
        && napi_create_async_work(env, NULL, label, run_loading, finish_loading, job, &job->work) == napi_ok) {
        if (napi_create_promise(env, &job->deferred, &promise) == napi_ok
            && napi_queue_async_work(env, job->work) == napi_ok)
            return promise;
        raise_last(env);
        napi_delete_async_work(env, job->work);
    } else {
        raise_last(env);
    }
    free(job);
    return NULL;
}

// `loadHandler(hub, topics, file, bytes, name, settings)`: a promise of its name.
napi_value load_handler(napi_env env, napi_callback_info info)
{
    napi_value arguments[6], promise = NULL;
    if (!read_arguments(env, info, 6, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_handler handler = FANFARE_HANDLER_INIT;
    arena memory;
    arena_begin(&memory);
    if (read_text(env, &memory, arguments[1], "topics", &handler.topics)
        && read_text(env, &memory, arguments[2], "file", &handler.file)
        && read_bytes(env, &memory, arguments[3], "bytes", &handler.bytes)
        && read_text(env, &memory, arguments[4], "name", &handler.name)
        && read_text(env, &memory, arguments[5], "settings", &handler.settings))
        promise = begin_loading(env, hub, &handler);
    arena_end(&memory);
    return promise;
}

// `unloadHandler(hub, name)`: false if there is none.
napi_value unload_handler(napi_env env, napi_callback_info info)
{
    napi_value arguments[2], value = NULL;
    fanfare_str name;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    arena memory;
    arena_begin(&memory);
    if (read_text(env, &memory, arguments[1], "name", &name)) {
        fanfare_error err = FANFARE_ERROR_INIT;
        fanfare_status status = fanfare_unload_handler(hub, name, &err);
        if (status < 0)
            throw_error(env, &err);
        else if (napi_get_boolean(env, status == FANFARE_OK, &value) != napi_ok)
            raise_last(env);
    }
    arena_end(&memory);
    return value;
}

static napi_value list_handler(napi_env env, const fanfare_handler_info *info)
{
    const fanfare_str name = { info->name, info->name_len }, topics = { info->topics, info->topics_len };
    napi_value object, text;
    TRY(env, napi_create_object(env, &object));
    TRY(env, make_text(env, name, &text));
    TRY(env, napi_set_named_property(env, object, "name", text));
    TRY(env, make_text(env, topics, &text));
    TRY(env, napi_set_named_property(env, object, "topics", text));
    TRY(env, set_number(env, object, "calls", info->calls));
    TRY(env, set_number(env, object, "passed", info->passed));
    TRY(env, set_number(env, object, "dropped", info->dropped));
    TRY(env, set_number(env, object, "replaced", info->replaced));
    TRY(env, set_number(env, object, "emitted", info->emitted));
    TRY(env, set_number(env, object, "rejected", info->rejected));
    TRY(env, set_number(env, object, "faults", info->faults));
    TRY(env, set_number(env, object, "rested", info->rested));
    TRY(env, set_number(env, object, "timeNs", info->time_ns));
    TRY(env, set_number(env, object, "instances", info->instances));
    TRY(env, set_number(env, object, "memoryBytes", info->memory_bytes));
    TRY(env, set_number(env, object, "stateBytes", info->state_bytes));
    TRY(env, set_number(env, object, "reloads", info->reloads));
    TRY(env, set_number(env, object, "failedReloads", info->failed_reloads));
    return object;
}

static napi_value list_handlers(napi_env env, const fanfare_handler_info *infos, size_t count)
{
    napi_value list, object;
    TRY(env, napi_create_array_with_length(env, count, &list));
    for (size_t index = 0; index < count; index++) {
        if (!(object = list_handler(env, &infos[index])))
            return NULL;
        TRY(env, napi_set_element(env, list, (uint32_t)index, object));
    }
    return list;
}

// `handlers(hub)`: what they have done, in their order.
napi_value handlers(napi_env env, napi_callback_info info)
{
    napi_value argument, list = NULL;
    if (!read_arguments(env, info, 1, &argument))
        return NULL;
    fanfare_hub *hub = read_hub(env, argument);
    if (!hub)
        return NULL;
    fanfare_handler_info *infos = NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_status status;
    size_t room = 0, count = 0;
    // One may be loaded between two looks.
    while ((status = fanfare_get_handlers(hub, infos, room, &count, &err)) >= 0 && count > room) {
        free(infos);
        room = count;
        infos = calloc(room, sizeof *infos);
        if (!infos) {
            napi_throw_error(env, "ERR_OUT_OF_MEMORY", "no memory for the handlers");
            return NULL;
        }
        for (size_t index = 0; index < room; index++)
            infos[index].size = sizeof *infos;
    }
    if (status < 0)
        throw_error(env, &err);
    else
        list = list_handlers(env, infos, count);
    free(infos);
    return list;
}
