// Options, as names and values in text. The library has the table of them and judges every one.

#include "addon.h"

// Sets `pairs[0]` to `pairs[1]`, and so on.
static bool set_options(napi_env env, arena *memory, fanfare_config *config, napi_value pairs)
{
    bool is_array = false;
    uint32_t length = 0;
    napi_is_array(env, pairs, &is_array);
    if (!is_array || napi_get_array_length(env, pairs, &length) != napi_ok) {
        throw_type(env, "the options", "a list of names and values");
        return false;
    }
    for (uint32_t index = 0; index + 1 < length; index += 2) {
        napi_value name, value;
        const char *name_text, *value_text;
        fanfare_error err = FANFARE_ERROR_INIT;
        if (napi_get_element(env, pairs, index, &name) != napi_ok
            || napi_get_element(env, pairs, index + 1, &value) != napi_ok) {
            raise_last(env);
            return false;
        }
        if (!read_name(env, memory, name, "an option's name", FANFARE_ERR_INVALID_CONFIG, &name_text)
            || !read_name(env, memory, value, name_text, FANFARE_ERR_INVALID_CONFIG, &value_text))
            return false;
        if (fanfare_config_set(config, name_text, value_text, &err) < 0) {
            throw_error(env, &err);
            return false;
        }
    }
    return true;
}

static bool fill(napi_env env, arena *memory, fanfare_config *config, const napi_value *arguments)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    const char *file;
    fanfare_str toml;
    if (!read_name(env, memory, arguments[1], "config", FANFARE_ERR_INVALID_CONFIG, &file)
        || !read_text(env, memory, arguments[2], "config.toml", &toml))
        return false;
    if ((file && fanfare_config_file(config, file, &err) < 0)
        || (toml.ptr && fanfare_config_toml(config, toml, "config.toml", &err) < 0)) {
        throw_error(env, &err);
        return false;
    }
    if (!set_options(env, memory, config, arguments[0]))
        return false;
    uint64_t actions = 0;
    if (!read_count(env, arguments[3], "actions", FANFARE_ERR_INVALID_PARAMETER, &actions))
        return false;
    if (actions && fanfare_config_authorize(config, (uint32_t)actions, &err) < 0) {
        throw_error(env, &err);
        return false;
    }
    return true;
}

fanfare_config *read_config(napi_env env, napi_value pairs, napi_value file, napi_value toml, napi_value actions)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_config *config = NULL;
    if (fanfare_config_new(FANFARE_ABI_VERSION, &config, &err) < 0) {
        throw_error(env, &err);
        return NULL;
    }
    const napi_value arguments[] = { pairs, file, toml, actions };
    arena memory;
    arena_begin(&memory);
    if (!fill(env, &memory, config, arguments))
        fanfare_config_free(&config);
    arena_end(&memory);
    return config;
}

// `check(pairs, file, toml, actions)`: throws what `start` would throw of single options.
napi_value check(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    if (!read_arguments(env, info, 4, arguments))
        return NULL;
    fanfare_config *config = read_config(env, arguments[0], arguments[1], arguments[2], arguments[3]);
    fanfare_config_free(&config);
    return NULL;
}

static napi_status set_text(napi_env env, napi_value object, const char *name, const char *text)
{
    napi_value value;
    napi_status status = napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    return status == napi_ok ? napi_set_named_property(env, object, name, value) : status;
}

// `options()`: the library's table.
napi_value options(napi_env env, napi_callback_info info)
{
    (void)info;
    napi_value list;
    TRY(env, napi_create_array(env, &list));
    for (uint32_t index = 0;; index++) {
        fanfare_error err = FANFARE_ERROR_INIT;
        fanfare_key key = FANFARE_KEY_INIT;
        fanfare_status status = fanfare_config_key(index, &key, &err);
        if (status < 0) {
            throw_error(env, &err);
            return NULL;
        }
        if (status == FANFARE_AGAIN)
            return list;
        napi_value object;
        TRY(env, napi_create_object(env, &object));
        TRY(env, set_text(env, object, "name", key.name));
        TRY(env, set_text(env, object, "expects", key.expects));
        TRY(env, set_text(env, object, "default", key.default_value));
        TRY(env, set_text(env, object, "doc", key.doc));
        TRY(env, set_text(env, object, "part", key.part));
        TRY(env, napi_set_element(env, list, index, object));
    }
}
