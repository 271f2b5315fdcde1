// The addon's functions by name. Nothing starts when it is loaded.

#include "addon.h"

static const struct {
    const char *name;
    napi_callback call;
} functions[] = {
    { "setErrorClass", set_error_class },
    { "start", start },
    { "stop", stop },
    { "release", release },
    { "detach", detach },
    { "hold", hold },
    { "urls", urls },
    { "check", check },
    { "options", options },
    { "publish", publish },
    { "publishBatch", publish_batch },
    { "closeTopic", close_topic },
    { "deleteHistory", delete_history },
    { "stats", stats },
    { "loadHandler", load_handler },
    { "unloadHandler", unload_handler },
    { "handlers", handlers },
    { "subscribe", subscribe },
    { "unsubscribe", unsubscribe },
    { "addTopic", add_topic },
    { "removeTopic", remove_topic },
    { "pull", pull },
    { "drain", drain },
    { "accept", accept_request },
    { "reject", reject_request },
    { "adopt", adopt },
    { "openStream", open_stream },
    { "closeStream", close_stream },
    { "revoke", revoke },
};

static const struct {
    const char *name;
    double value;
} constants[] = {
    { "EVENT", FANFARE_ITEM_EVENT },
    { "GAP", FANFARE_ITEM_GAP },
    { "END", FANFARE_ITEM_END },
    { "READY", FANFARE_ITEM_READY },
    { "REQUEST", FANFARE_ITEM_REQUEST },
    { "SUBSCRIBE", FANFARE_ACTION_SUBSCRIBE },
    { "PUBLISH", FANFARE_ACTION_PUBLISH },
    { "CLOSE", FANFARE_ACTION_CLOSE },
    { "BYTES", FANFARE_ITEM_BYTES },
    { "LAG_DEFAULT", FANFARE_LAG_DEFAULT },
    { "LAG_DISCONNECT", FANFARE_LAG_DISCONNECT },
    { "LAG_SKIP", FANFARE_LAG_SKIP },
    { "LAG_CONFLATE", FANFARE_LAG_CONFLATE },
};

NAPI_MODULE_INIT()
{
    napi_value value;
    if (fanfare_abi_version() != FANFARE_ABI_VERSION) {
        napi_throw_error(env, "abi_mismatch", "this addon and the libfanfare in it do not belong together: build it again");
        return NULL;
    }
    for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
        TRY(env, napi_create_function(env, functions[index].name, NAPI_AUTO_LENGTH, functions[index].call, NULL, &value));
        TRY(env, napi_set_named_property(env, exports, functions[index].name, value));
    }
    for (size_t index = 0; index < sizeof constants / sizeof *constants; index++) {
        TRY(env, napi_create_double(env, constants[index].value, &value));
        TRY(env, napi_set_named_property(env, exports, constants[index].name, value));
    }
    TRY(env, make_text(env, fanfare_text(fanfare_version()), &value));
    TRY(env, napi_set_named_property(env, exports, "version", value));
    return exports;
}
