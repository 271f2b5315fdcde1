// A hub's life: started and stopped on a thread of Node's pool, woken through one thread-safe function, freed by `release`
// or, when its environment ends first, by the cleanup hook.
//
// The wake-up runs on the library's threads and touches the thread-safe function only. It is taken away before that function
// is released: by the library when the hub has stopped, by us otherwise. The cleanup hook is added after the thread-safe
// function was made, so it runs before Node takes that function down.

#include <stdlib.h>

#include "addon.h"

struct box {
    // NULL before the start and after the end.
    fanfare_hub *hub;
    // NULL after the end.
    napi_threadsafe_function wake;
    // The environment has not ended, and neither has the hub: the cleanup hook is set.
    bool live;
    // JavaScript has a value for it.
    bool held;
    // A start or stop is under way.
    bool busy;
};

// A start or a stop.
typedef struct {
    box *box;
    // What to start with; NULL for a stop.
    fanfare_config *config;
    uint64_t deadline_ms;
    fanfare_status status;
    fanfare_error err;
    fanfare_stop_report report;
    napi_async_work work;
    napi_deferred deferred;
} job;

static void collect(box *box)
{
    if (!box->live && !box->held && !box->busy)
        free(box);
}

static void end_of_environment(void *data);

// Frees the hub, if any, and everything around it.
static void end(napi_env env, box *box)
{
    if (!box->live)
        return;
    box->live = false;
    if (box->hub) {
        fanfare_set_wakeup(box->hub, NULL, NULL, NULL, NULL);
        fanfare_free(&box->hub);
    }
    napi_release_threadsafe_function(box->wake, napi_tsfn_abort);
    box->wake = NULL;
    if (env)
        napi_remove_env_cleanup_hook(env, end_of_environment, box);
    collect(box);
}

static void end_of_environment(void *data)
{
    end(NULL, data);
}

static void wake_up(void *user)
{
    // Full is fine: the call that waits there will see what is new. So is closing.
    napi_call_threadsafe_function((napi_threadsafe_function)user, NULL, napi_tsfn_nonblocking);
}

static void run_drain(napi_env env, napi_value drain, void *context, void *data)
{
    (void)context;
    (void)data;
    napi_value undefined, thrown;
    // No environment: it is ending.
    if (!env || !drain || napi_get_undefined(env, &undefined) != napi_ok)
        return;
    bool pending = false;
    napi_call_function(env, undefined, drain, 0, NULL, NULL);
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending
        && napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
        napi_fatal_exception(env, thrown);
}

static void forget_value(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    box *box = data;
    box->held = false;
    collect(box);
}

// On a thread of the pool.
static void run_job(napi_env env, void *data)
{
    (void)env;
    job *job = data;
    box *box = job->box;
    if (!job->config) {
        job->status = fanfare_stop(box->hub, job->deadline_ms, &job->report, &job->err);
        return;
    }
    job->status = fanfare_start(job->config, &box->hub, &job->err);
    if (job->status >= 0)
        job->status = fanfare_set_wakeup(box->hub, wake_up, box->wake, NULL, &job->err);
}

static napi_value outcome(napi_env env, job *job)
{
    napi_value value;
    if (job->config) {
        TRY(env, napi_create_external(env, job->box, forget_value, NULL, &value));
        job->box->held = true;
        return value;
    }
    TRY(env, napi_create_object(env, &value));
    TRY(env, set_number(env, value, "streams", job->report.streams));
    TRY(env, set_number(env, value, "cut", job->report.cut));
    return value;
}

static void finish_job(napi_env env, napi_status status, void *data)
{
    job *job = data;
    box *box = job->box;
    napi_value value = NULL;
    if (status == napi_ok && job->status >= 0)
        value = outcome(env, job);
    settle(env, job->deferred, value, status == napi_ok && job->status < 0 ? &job->err : NULL);
    // A hub that nobody got, or a stop that was refused: the hub is freed only in the first case.
    if (!value && job->config)
        end(env, box);
    napi_delete_async_work(env, job->work);
    fanfare_config_free(&job->config);
    free(job);
    // Only now: nothing above may free the box.
    box->busy = false;
    collect(box);
}

// Takes `config`. On failure nothing is under way, and an exception is pending.
static napi_value begin(napi_env env, box *box, fanfare_config *config, uint64_t deadline_ms)
{
    napi_value name, promise = NULL;
    job *job = calloc(1, sizeof *job);
    if (!job) {
        fanfare_config_free(&config);
        napi_throw_error(env, "ERR_OUT_OF_MEMORY", "no memory for a start or stop");
        return NULL;
    }
    job->box = box;
    job->config = config;
    job->deadline_ms = deadline_ms;
    job->err.size = sizeof job->err;
    job->report.size = sizeof job->report;
    if (napi_create_string_latin1(env, "fanfare", NAPI_AUTO_LENGTH, &name) == napi_ok
        && napi_create_async_work(env, NULL, name, run_job, finish_job, job, &job->work) == napi_ok) {
        if (napi_create_promise(env, &job->deferred, &promise) == napi_ok) {
            box->busy = true;
            if (napi_queue_async_work(env, job->work) == napi_ok)
                return promise;
            box->busy = false;
        }
        raise_last(env);
        napi_delete_async_work(env, job->work);
    } else {
        raise_last(env);
    }
    fanfare_config_free(&job->config);
    free(job);
    return NULL;
}

// `start(pairs, file, toml, actions, drain)`: a promise of a hub. `drain` is called when the queue has something.
napi_value start(napi_env env, napi_callback_info info)
{
    napi_value arguments[5], name;
    if (!read_arguments(env, info, 5, arguments))
        return NULL;
    fanfare_config *config = read_config(env, arguments[0], arguments[1], arguments[2], arguments[3]);
    if (!config)
        return NULL;
    box *box = calloc(1, sizeof *box);
    if (!box || napi_create_string_latin1(env, "fanfare", NAPI_AUTO_LENGTH, &name) != napi_ok
        || napi_create_threadsafe_function(env, arguments[4], NULL, name, 1, 1, NULL, NULL, NULL, run_drain, &box->wake)
               != napi_ok) {
        raise_last(env);
        fanfare_config_free(&config);
        free(box);
        return NULL;
    }
    // A hub alone does not keep the process: `hold` does while somebody waits for it.
    napi_unref_threadsafe_function(env, box->wake);
    box->live = true;
    napi_value promise = NULL;
    if (napi_add_env_cleanup_hook(env, end_of_environment, box) == napi_ok) {
        promise = begin(env, box, config, 0);
    } else {
        raise_last(env);
        fanfare_config_free(&config);
    }
    if (!promise)
        end(env, box);
    return promise;
}

static box *read_box(napi_env env, napi_value value)
{
    napi_valuetype type = napi_undefined;
    void *data = NULL;
    napi_typeof(env, value, &type);
    if (type != napi_external || napi_get_value_external(env, value, &data) != napi_ok || !data) {
        throw_type(env, "the hub", "one that `start` has given");
        return NULL;
    }
    return data;
}

fanfare_hub *read_hub(napi_env env, napi_value value)
{
    box *box = read_box(env, value);
    if (box && !box->hub)
        throw_code(env, FANFARE_ERR_STOPPING, "the hub has been stopped");
    return box ? box->hub : NULL;
}

// `stop(hub, milliseconds)`: a promise of what it met. The queue can be drained behind it, until `release`.
napi_value stop(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    uint64_t deadline_ms = FANFARE_STOP_DEFAULT;
    if (!read_arguments(env, info, 2, arguments) || !read_hub(env, arguments[0]))
        return NULL;
    if (!is_absent(env, arguments[1])
        && !read_count(env, arguments[1], "timeout", FANFARE_ERR_INVALID_PARAMETER, &deadline_ms))
        return NULL;
    return begin(env, read_box(env, arguments[0]), NULL, deadline_ms);
}

// `release(hub)`: frees it. Nothing may be under way.
napi_value release(napi_env env, napi_callback_info info)
{
    napi_value value;
    if (!read_arguments(env, info, 1, &value))
        return NULL;
    box *box = read_box(env, value);
    if (box && !box->busy)
        end(env, box);
    return NULL;
}

// `detach(hub)`: no wake-up any more, for a process that is exiting.
napi_value detach(napi_env env, napi_callback_info info)
{
    napi_value value;
    if (!read_arguments(env, info, 1, &value))
        return NULL;
    box *box = read_box(env, value);
    if (box && box->hub)
        fanfare_set_wakeup(box->hub, NULL, NULL, NULL, NULL);
    return NULL;
}

// `hold(hub, yes)`: whether it keeps the process alive.
napi_value hold(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    bool yes = false;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    box *box = read_box(env, arguments[0]);
    if (!box || !box->live)
        return NULL;
    TRY(env, napi_get_value_bool(env, arguments[1], &yes));
    if (yes)
        TRY(env, napi_ref_threadsafe_function(env, box->wake));
    else
        TRY(env, napi_unref_threadsafe_function(env, box->wake));
    return NULL;
}

// `urls(hub)`: a line each.
napi_value urls(napi_env env, napi_callback_info info)
{
    napi_value value, text;
    if (!read_arguments(env, info, 1, &value))
        return NULL;
    fanfare_hub *hub = read_hub(env, value);
    if (!hub)
        return NULL;
    TRY(env, make_text(env, fanfare_text(fanfare_urls(hub)), &text));
    return text;
}
