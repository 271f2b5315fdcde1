// Errors: those of the library become instances of the class that ../lib/errors.cjs gives.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon.h"

static void forget_class(napi_env env, void *data, void *hint)
{
    (void)hint;
    napi_delete_reference(env, (napi_ref)data);
}

napi_value set_error_class(napi_env env, napi_callback_info info)
{
    napi_value class;
    if (!read_arguments(env, info, 1, &class))
        return NULL;
    void *known = NULL;
    TRY(env, napi_get_instance_data(env, &known));
    if (known)
        return NULL;
    napi_ref reference;
    TRY(env, napi_create_reference(env, class, 1, &reference));
    TRY(env, napi_set_instance_data(env, reference, forget_class, NULL));
    return NULL;
}

napi_value make_error(napi_env env, const fanfare_error *err)
{
    void *reference = NULL;
    napi_value class, arguments[4], error;
    const char *name = fanfare_code_name(err->code);
    bool made = napi_get_instance_data(env, &reference) == napi_ok && reference
                && napi_get_reference_value(env, (napi_ref)reference, &class) == napi_ok
                && napi_create_string_utf8(env, err->message, NAPI_AUTO_LENGTH, &arguments[0]) == napi_ok
                && napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &arguments[1]) == napi_ok
                && napi_create_int32(env, err->code, &arguments[2]) == napi_ok
                && napi_create_int32(env, err->os_errno, &arguments[3]) == napi_ok
                && napi_new_instance(env, class, 4, arguments, &error) == napi_ok;
    return made ? error : NULL;
}

void throw_error(napi_env env, const fanfare_error *err)
{
    napi_value error = make_error(env, err);
    if (error)
        napi_throw(env, error);
    else
        raise_last(env);
}

void settle(napi_env env, napi_deferred deferred, napi_value value, const fanfare_error *err)
{
    napi_value thrown;
    bool pending = false;
    if (value) {
        napi_resolve_deferred(env, deferred, value);
        return;
    }
    napi_value reason = err ? make_error(env, err) : NULL;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending
        && napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
        reason = thrown;
    if (reason)
        napi_reject_deferred(env, deferred, reason);
}

void throw_code(napi_env env, fanfare_status code, const char *message)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    err.code = code;
    snprintf(err.message, sizeof err.message, "%s", message);
    throw_error(env, &err);
}

void throw_type(napi_env env, const char *what, const char *expected)
{
    char text[256];
    snprintf(text, sizeof text, "%s has to be %s", what, expected);
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
}

void raise_last(napi_env env)
{
    // First: the calls below overwrite it.
    const napi_extended_error_info *info = NULL;
    const char *message = NULL;
    if (napi_get_last_error_info(env, &info) == napi_ok && info)
        message = info->error_message;
    bool pending = true;
    if (napi_is_exception_pending(env, &pending) == napi_ok && !pending)
        napi_throw_error(env, "ERR_FANFARE_NODE_API", message ? message : "a call of Node-API failed");
}
