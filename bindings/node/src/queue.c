// Draining the queue: who has something to read, what is over, and who asks to come in.

#include "addon.h"

static void visit_items(napi_env env, const fanfare_item *items, size_t count, napi_value visit, napi_value *thrown)
{
    for (size_t index = 0; index < count; index++) {
        const fanfare_item *item = &items[index];
        napi_handle_scope scope;
        if (napi_open_handle_scope(env, &scope) != napi_ok)
            return;
        napi_value undefined, arguments[4];
        bool pending = false, ok = napi_get_undefined(env, &undefined) == napi_ok;
        ok = ok && napi_create_int32(env, item->kind, &arguments[0]) == napi_ok;
        ok = ok && napi_create_double(env, (double)item->user, &arguments[1]) == napi_ok;
        ok = ok && napi_create_bigint_uint64(env, item->handle, &arguments[2]) == napi_ok;
        arguments[3] = undefined;
        if (item->kind == FANFARE_ITEM_END)
            ok = ok && make_text(env, fanfare_text(fanfare_code_name(item->code)), &arguments[3]) == napi_ok;
        if (item->kind == FANFARE_ITEM_REQUEST && item->request)
            ok = ok && (arguments[3] = list_request(env, item->request));
        if (ok)
            napi_call_function(env, undefined, visit, 4, arguments, NULL);
        napi_value error;
        if (napi_is_exception_pending(env, &pending) == napi_ok && pending
            && napi_get_and_clear_last_exception(env, &error) == napi_ok)
            napi_set_element(env, *thrown, 0, error);
        napi_close_handle_scope(env, scope);
    }
}

// `drain(hub, visit)`: calls `visit(kind, user, handle, detail)` for each item; `detail` is the name of the reason of
// an end, or a request.
// An item whose visit throws is done, and the rest are visited all the same: the last exception comes out at the end. True if
// there is more; no wake-up tells of that.
napi_value drain(napi_env env, napi_callback_info info)
{
    napi_value arguments[2], thrown, error, more;
    if (!read_arguments(env, info, 2, arguments))
        return NULL;
    fanfare_hub *hub = read_hub(env, arguments[0]);
    if (!hub)
        return NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_batch *batch = NULL;
    const fanfare_item *items = NULL;
    size_t count = 0;
    TRY(env, napi_create_array(env, &thrown));
    fanfare_status status = fanfare_drain(hub, &batch, &err);
    if (status >= 0 && batch && fanfare_batch_items(batch, sizeof *items, &items, &count, &err) >= 0)
        visit_items(env, items, count, arguments[1], &thrown);
    fanfare_batch_free(&batch);
    if (status < 0) {
        throw_error(env, &err);
        return NULL;
    }
    bool any = false;
    TRY(env, napi_has_element(env, thrown, 0, &any));
    if (any) {
        TRY(env, napi_get_element(env, thrown, 0, &error));
        napi_throw(env, error);
        return NULL;
    }
    TRY(env, napi_get_boolean(env, status == FANFARE_OK, &more));
    return more;
}
