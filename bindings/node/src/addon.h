// What the parts of the addon share. It is a thin layer over include/fanfare.h: it turns JavaScript values into views and
// back, and does nothing else; what needs thought is in ../lib.
//
// Every function runs on the JavaScript thread of its environment unless it says otherwise. One that returns false, or
// a NULL value, has left an exception pending.

#ifndef FANFARE_NODE_ADDON_H
#define FANFARE_NODE_ADDON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <node_api.h>

#include "fanfare.h"

// Leaves the function when a call of Node-API fails.
#define TRY(env, call)             \
    do {                           \
        if ((call) != napi_ok) {   \
            raise_last(env);       \
            return NULL;           \
        }                          \
    } while (0)

// errors.c

// `setErrorClass(FanfareError)`: what this environment throws.
napi_value set_error_class(napi_env env, napi_callback_info info);
// An instance of it for a refused call; NULL when not even that is possible.
napi_value make_error(napi_env env, const fanfare_error *err);
void throw_error(napi_env env, const fanfare_error *err);
// Fulfils a promise with `value`. Without one it is rejected, with the exception that is pending or else with `err`.
void settle(napi_env env, napi_deferred deferred, napi_value value, const fanfare_error *err);
// Throws with a code of the library's and a text of ours.
void throw_code(napi_env env, fanfare_status code, const char *message);
void throw_type(napi_env env, const char *what, const char *expected);
// Makes the failure of a Node-API call an exception.
void raise_last(napi_env env);

// values.c

// Memory for the views of one call: a piece on the stack, and what does not fit there.
typedef struct chunk chunk;
typedef struct {
    // Where the next string goes, and how many bytes there are: in `near_by`, or in a block of `more`.
    char *place;
    size_t room;
    chunk *more;
    char near_by[6 * 1024];
} arena;

static inline void arena_begin(arena *memory)
{
    memory->place = memory->near_by;
    memory->room = sizeof memory->near_by;
    memory->more = NULL;
}
void arena_end(arena *memory);
// NULL, with an exception, when there is no memory.
void *arena_take(napi_env env, arena *memory, size_t count, size_t size);

// A string as UTF-8. undefined and null are the absent view.
bool read_text(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str *view);
// A string that has to be there.
bool read_topic(napi_env env, arena *memory, napi_value value, fanfare_str *view);
// Also a Buffer or another Uint8Array, which is looked at where it is.
bool read_bytes(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str *view);
// NUL-terminated; a string that holds a NUL is refused with `code`.
bool read_name(napi_env env, arena *memory, napi_value value, const char *what, fanfare_status code, const char **text);
// An array of strings.
bool read_texts(napi_env env, arena *memory, napi_value value, const char *what, fanfare_str **views, size_t *count);
// A whole number from 0 to 2^53 - 1; others are refused with `code`.
bool read_count(napi_env env, napi_value value, const char *what, fanfare_status code, uint64_t *count);
bool is_absent(napi_env env, napi_value value);
// The arguments of a call; those that were not given are undefined.
bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);

// An empty or absent view is "".
napi_status make_text(napi_env env, fanfare_str view, napi_value *value);
napi_status set_number(napi_env env, napi_value object, const char *name, uint64_t number);

// hub.c

// A hub as JavaScript holds it.
typedef struct box box;

// The hub of a first argument. NULL, with an exception, when it has been stopped and freed.
fanfare_hub *read_hub(napi_env env, napi_value value);

napi_value start(napi_env env, napi_callback_info info);
napi_value stop(napi_env env, napi_callback_info info);
napi_value release(napi_env env, napi_callback_info info);
napi_value detach(napi_env env, napi_callback_info info);
napi_value hold(napi_env env, napi_callback_info info);
napi_value urls(napi_env env, napi_callback_info info);

// config.c

// A configuration from `pairs`, a flat array of names and values, and from a file or a text; NULL with an exception.
fanfare_config *read_config(napi_env env, napi_value pairs, napi_value file, napi_value toml, napi_value actions);
napi_value check(napi_env env, napi_callback_info info);
napi_value options(napi_env env, napi_callback_info info);

// publish.c

napi_value publish(napi_env env, napi_callback_info info);
napi_value publish_batch(napi_env env, napi_callback_info info);
napi_value close_topic(napi_env env, napi_callback_info info);
napi_value delete_history(napi_env env, napi_callback_info info);
napi_value stats(napi_env env, napi_callback_info info);

// handlers.c

napi_value load_handler(napi_env env, napi_callback_info info);
napi_value unload_handler(napi_env env, napi_callback_info info);
napi_value handlers(napi_env env, napi_callback_info info);

// read.c

// What comes after the hub among the arguments of `subscribe`, `openStream` and `adopt`.
#define READER_ARGUMENTS 8
bool read_reader(napi_env env, arena *memory, const napi_value *arguments, fanfare_subscribe_options *options);
bool read_id(napi_env env, napi_value value, uint64_t *id);

napi_value subscribe(napi_env env, napi_callback_info info);
napi_value unsubscribe(napi_env env, napi_callback_info info);
napi_value add_topic(napi_env env, napi_callback_info info);
napi_value remove_topic(napi_env env, napi_callback_info info);
napi_value pull(napi_env env, napi_callback_info info);

// queue.c

napi_value drain(napi_env env, napi_callback_info info);

// requests.c

// A request as the visitor of `drain` gets it.
napi_value list_request(napi_env env, const fanfare_request *request);
napi_value accept_request(napi_env env, napi_callback_info info);
napi_value reject_request(napi_env env, napi_callback_info info);

// streams.c

napi_value adopt(napi_env env, napi_callback_info info);
napi_value open_stream(napi_env env, napi_callback_info info);
napi_value close_stream(napi_env env, napi_callback_info info);
napi_value revoke(napi_env env, napi_callback_info info);

#endif
