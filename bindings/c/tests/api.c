/* Every call with everything that can be wrong with its arguments: an error that says so, never a crash, and nothing changed. */

#include <stdint.h>

#include "support.h"

static fanfare_hub *hub;

/* Every export with every pointer NULL. */
static void nulls(void)
{
    fanfare_str none = { NULL, 0 };
    fanfare_hub *null_hub = NULL;
    fanfare_config *null_config = NULL;
    fanfare_batch *null_batch = NULL;
    const fanfare_status null = FANFARE_ERR_NULL_POINTER;
    CHECK(fanfare_code_number(NULL) == INT32_MIN);
    STATUS(null, fanfare_config_new(FANFARE_ABI_VERSION, NULL, NULL));
    STATUS(null, fanfare_config_set(NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_config_toml(NULL, none, NULL, NULL));
    STATUS(null, fanfare_config_file(NULL, NULL, NULL));
    STATUS(null, fanfare_config_get(NULL, NULL, NULL, 0, NULL, NULL));
    STATUS(null, fanfare_config_key(0, NULL, NULL));
    fanfare_config_free(NULL);
    fanfare_config_free(&null_config);
    STATUS(null, fanfare_start(NULL, NULL, NULL));
    STATUS(null, fanfare_stop(NULL, 0, NULL, NULL));
    fanfare_free(NULL);
    fanfare_free(&null_hub);
    CHECK(!strcmp(fanfare_url(NULL), "") && !strcmp(fanfare_urls(NULL), ""));
    STATUS(null, fanfare_publish(NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_publish_batch(NULL, NULL, 0, NULL, NULL, NULL));
    STATUS(null, fanfare_close_topic(NULL, none, NULL));
    STATUS(null, fanfare_delete_history(NULL, none, NULL));
    STATUS(null, fanfare_get_stats(NULL, NULL, NULL));
    STATUS(null, fanfare_subscribe(NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_add_topic(NULL, 0, none, NULL));
    STATUS(null, fanfare_remove_topic(NULL, 0, none, NULL));
    STATUS(null, fanfare_unsubscribe(NULL, 0, NULL));
    STATUS(null, fanfare_adopt(NULL, -1, NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_open_stream(NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_close_stream(NULL, 0, NULL));
    STATUS(null, fanfare_revoke(NULL, none, NULL));
    STATUS(null, fanfare_accept(NULL, 0, NULL, NULL));
    STATUS(null, fanfare_reject(NULL, 0, 0, none, NULL));
    STATUS(null, fanfare_config_authorize(NULL, 0, NULL));
    STATUS(null, fanfare_load_handler(NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_unload_handler(NULL, none, NULL));
    STATUS(null, fanfare_get_handlers(NULL, NULL, 0, NULL, NULL));
    STATUS(null, fanfare_batch_items(NULL, sizeof(fanfare_item), NULL, NULL, NULL));
    fanfare_batch_free(NULL);
    fanfare_batch_free(&null_batch);
    STATUS(null, fanfare_poll_fd(NULL, NULL, NULL));
    STATUS(null, fanfare_set_wakeup(NULL, NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_wait(NULL, 0, NULL));
    STATUS(null, fanfare_drain(NULL, NULL, NULL));
    STATUS(null, fanfare_pull(NULL, 0, 0, NULL, NULL));

    /* The same with a hub. */
    fanfare_str bad = { NULL, 5 };
    fanfare_event event = FANFARE_EVENT_INIT;
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    fanfare_error err = FANFARE_ERROR_INIT;
    uint64_t id = 77;
    STATUS(null, fanfare_publish(hub, NULL, NULL, &err));
    CHECK(err.code == null && strstr(err.message, "event"));
    STATUS(null, fanfare_publish(hub, &event, NULL, &err));
    CHECK(strstr(err.message, "topic"));
    event.topic = bad;
    STATUS(null, fanfare_publish(hub, &event, NULL, NULL));
    event.topic = fanfare_text("t");
    event.data = bad;
    STATUS(null, fanfare_publish(hub, &event, NULL, NULL));
    event.data = none;
    event.id = bad;
    STATUS(null, fanfare_publish(hub, &event, NULL, NULL));
    STATUS(null, fanfare_publish_batch(hub, NULL, 3, NULL, NULL, NULL));
    STATUS(null, fanfare_close_topic(hub, none, NULL));
    STATUS(null, fanfare_close_topic(hub, bad, NULL));
    STATUS(null, fanfare_delete_history(hub, none, NULL));
    STATUS(null, fanfare_delete_history(hub, bad, NULL));
    STATUS(null, fanfare_get_stats(hub, NULL, NULL));
    STATUS(null, fanfare_subscribe(hub, NULL, &id, NULL));
    STATUS(null, fanfare_subscribe(hub, &options, NULL, NULL));
    options.topics_len = 2;
    STATUS(null, fanfare_subscribe(hub, &options, &id, NULL));
    options.topics = &none;
    options.topics_len = 1;
    STATUS(null, fanfare_subscribe(hub, &options, &id, NULL));
    CHECK(id == 77);
    STATUS(null, fanfare_adopt(hub, -1, NULL, NULL, NULL, NULL));
    STATUS(null, fanfare_open_stream(hub, NULL, &id, NULL));
    STATUS(null, fanfare_revoke(hub, none, NULL));
    STATUS(null, fanfare_poll_fd(hub, NULL, NULL));
    STATUS(null, fanfare_drain(hub, NULL, NULL));
    STATUS(null, fanfare_pull(hub, 0, 0, NULL, NULL));
    /* That many names are no list. */
    fanfare_str name = fanfare_text("t");
    options.topics = &name;
    options.topics_len = SIZE_MAX;
    CHECK(fanfare_subscribe(hub, &options, &id, NULL) < 0);
    options.topics_len = 1;
    options.events = &name;
    options.events_len = SIZE_MAX / 2;
    CHECK(fanfare_subscribe(hub, &options, &id, NULL) < 0);
    name.len = SIZE_MAX;
    options.events_len = 0;
    CHECK(fanfare_subscribe(hub, &options, &id, NULL) < 0);
    CHECK(fanfare_publish_batch(hub, &event, SIZE_MAX, NULL, NULL, NULL) < 0);
}

/* Handles and ids that name nothing. */
static void forged(void)
{
    const uint64_t ids[] = { 0, 1, 2, UINT64_MAX, UINT64_MAX / 2, 1ULL << 32, (1ULL << 32) + 1, 0xdeadbeefULL << 16 };
    const uintptr_t handles[] = { 1, 2, 8, 4096, UINTPTR_MAX, UINTPTR_MAX / 2, (uintptr_t)hub + 1, (uintptr_t)hub ^ 4096,
        (uintptr_t)&ids };
    fanfare_str topic = fanfare_text("t");
    fanfare_batch *batch = NULL;
    const fanfare_item *items;
    size_t count;
    int fd;
    for (size_t n = 0; n < sizeof ids / sizeof *ids; n++) {
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_unsubscribe(hub, ids[n], NULL));
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_add_topic(hub, ids[n], topic, NULL));
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_remove_topic(hub, ids[n], topic, NULL));
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_pull(hub, ids[n], FANFARE_FOREVER, &batch, NULL));
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_close_stream(hub, ids[n], NULL));
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_accept(hub, ids[n], NULL, NULL));
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_reject(hub, ids[n], 403, topic, NULL));
    }
    for (size_t n = 0; n < sizeof handles / sizeof *handles; n++) {
        fanfare_hub *no_hub = (fanfare_hub *)handles[n];
        fanfare_config *no_config = (fanfare_config *)handles[n];
        fanfare_batch *no_batch = (fanfare_batch *)handles[n];
        /* One that says it is of another process may be told so. */
        fanfare_status status = publish(no_hub, "t", "x");
        CHECK(status == FANFARE_ERR_STALE_HANDLE || status == FANFARE_ERR_FORKED);
        CHECK(fanfare_stop(no_hub, 0, NULL, NULL) < 0 && fanfare_wait(no_hub, FANFARE_FOREVER, NULL) < 0);
        CHECK(fanfare_poll_fd(no_hub, &fd, NULL) < 0 && fanfare_drain(no_hub, &batch, NULL) < 0);
        CHECK(!strcmp(fanfare_url(no_hub), ""));
        CHECK(fanfare_config_set(no_config, "lag", "skip", NULL) < 0);
        CHECK(fanfare_batch_items(no_batch, sizeof *items, &items, &count, NULL) < 0);
        fanfare_free(&no_hub);
        fanfare_config_free(&no_config);
        fanfare_batch_free(&no_batch);
        CHECK(!no_hub && !no_config && !no_batch);
    }
    /* A thing of another kind, and an id of another kind. */
    fanfare_config *config = new_config();
    CHECK(publish((fanfare_hub *)config, "t", "x") == FANFARE_ERR_STALE_HANDLE);
    CHECK(fanfare_config_set((fanfare_config *)hub, "lag", "skip", NULL) == FANFARE_ERR_STALE_HANDLE);
    fanfare_config_free(&config);
    uint64_t id = subscribe(hub, "t", 0, 0), stream = 0;
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    options.topics = &topic;
    options.topics_len = 1;
    OK(fanfare_open_stream(hub, &options, &stream, NULL));
    STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_close_stream(hub, id, NULL));
    STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_pull(hub, id, 0, &batch, NULL));
    STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_unsubscribe(hub, stream, NULL));
    STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_add_topic(hub, stream, topic, NULL));
    OK(fanfare_close_stream(hub, stream, NULL));
    OK(fanfare_unsubscribe(hub, id, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_unsubscribe(hub, id, NULL));
    /* A slot that is used again has another number. */
    uint64_t next = subscribe(hub, "t", 0, 0);
    CHECK(next != id);
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_unsubscribe(hub, id, NULL));
    OK(fanfare_unsubscribe(hub, next, NULL));
    drain(hub, NULL, NULL);
}

static void double_free(void)
{
    fanfare_hub *mine = start(), *copy = mine;
    fanfare_batch *batch = NULL, *batch_copy;
    fanfare_config *config = new_config(), *config_copy = config;
    const fanfare_item *items;
    size_t count;
    subscribe(mine, "t", 0, 0);
    OK(publish(mine, "t", "x"));
    CHECK(fanfare_drain(mine, &batch, NULL) >= 0 && batch);
    batch_copy = batch;
    fanfare_batch_free(&batch);
    fanfare_batch_free(&batch);
    fanfare_batch_free(&batch_copy);
    CHECK(!batch && !batch_copy);
    fanfare_config_free(&config);
    fanfare_config_free(&config_copy);
    OK(fanfare_stop(mine, 0, NULL, NULL));
    OK(fanfare_stop(mine, 0, NULL, NULL));
    STATUS(FANFARE_ERR_STOPPING, publish(mine, "t", "x"));
    fanfare_free(&mine);
    fanfare_free(&mine);
    STATUS(FANFARE_ERR_STALE_HANDLE, publish(copy, "t", "x"));
    fanfare_free(&copy);
    CHECK(!mine && !copy);
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_batch_items(batch, sizeof *items, &items, &count, NULL));
}

/* Structures that are shorter, longer or of no size. */
static void sizes(void)
{
    struct {
        fanfare_event event;
        char more[64];
    } newer;
    fanfare_event event = FANFARE_EVENT_INIT;
    fanfare_error err = FANFARE_ERROR_INIT;
    const size_t wrong[] = { 0, 1, 7, 65537, SIZE_MAX };
    event.topic = fanfare_text("t");
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        event.size = wrong[n];
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_publish(hub, &event, NULL, &err));
        CHECK(strstr(err.message, "fanfare_event.size"));
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_publish_batch(hub, &event, 1, NULL, NULL, NULL));
        fanfare_published done = { wrong[n], 7, 7, 7, "" };
        event.size = sizeof event;
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_publish(hub, &event, &done, NULL));
        CHECK(done.position == 7 && done.events == 7);
        fanfare_stats stats = { wrong[n], 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 };
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_get_stats(hub, &stats, NULL));
        CHECK(stats.published == 7);
        fanfare_key key = { wrong[n], NULL, NULL, NULL, NULL, NULL };
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_config_key(0, &key, NULL));
        fanfare_stop_report report = { wrong[n], 7, 7 };
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_stop(hub, 0, &report, NULL));
        CHECK(report.streams == 7);
        fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
        options.size = wrong[n];
        uint64_t id;
        STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_subscribe(hub, &options, &id, NULL));
        /* Room for an error that has no size takes none. */
        fanfare_error odd = FANFARE_ERROR_INIT;
        odd.size = wrong[n];
        odd.code = 99;
        STATUS(FANFARE_ERR_NULL_POINTER, fanfare_publish(hub, NULL, NULL, &odd));
        CHECK(odd.code == 99 && !*odd.message);
    }
    /* An older caller: topic and data only. */
    event.size = offsetof(fanfare_event, event);
    event.event = fanfare_text("\n");
    event.flags = 0xffff;
    OK(fanfare_publish(hub, &event, NULL, NULL));
    fanfare_stats some = FANFARE_STATS_INIT;
    some.size = offsetof(fanfare_stats, published_bytes);
    some.published_bytes = 99;
    OK(fanfare_get_stats(hub, &some, NULL));
    CHECK(some.published >= 1 && some.published_bytes == 99);
    /* A newer one: fine while what it has more is zero. */
    memset(&newer, 0, sizeof newer);
    newer.event.size = sizeof newer;
    newer.event.topic = fanfare_text("t");
    OK(fanfare_publish(hub, &newer.event, NULL, NULL));
    newer.more[63] = 1;
    STATUS(FANFARE_ERR_TOO_NEW, fanfare_publish(hub, &newer.event, NULL, NULL));
    memset(&newer, 0, sizeof newer);
    newer.event.size = sizeof newer.event;
    newer.event.topic = fanfare_text("t");
    newer.event.flags = 1u << 31;
    STATUS(FANFARE_ERR_TOO_NEW, fanfare_publish(hub, &newer.event, NULL, NULL));
    newer.event.flags = 0;
    newer.event.reserved = 1;
    STATUS(FANFARE_ERR_TOO_NEW, fanfare_publish(hub, &newer.event, NULL, NULL));
    /* A message is cut to the room that there is. */
    fanfare_error small = FANFARE_ERROR_INIT;
    small.size = offsetof(fanfare_error, message) + 6;
    memset(small.message, 'z', sizeof small.message);
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_publish(hub, NULL, NULL, &small));
    CHECK(strlen(small.message) == 5 && small.message[6] == 'z');
    /* Items of a size that never was. */
    subscribe(hub, "sizes", 0, 0);
    OK(publish(hub, "sizes", "x"));
    fanfare_batch *batch = NULL;
    const fanfare_item *items;
    size_t count;
    CHECK(fanfare_drain(hub, &batch, NULL) >= 0 && batch);
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++)
        CHECK(fanfare_batch_items(batch, wrong[n], &items, &count, NULL) < 0);
    STATUS(FANFARE_ERR_TOO_NEW, fanfare_batch_items(batch, sizeof *items + 8, &items, &count, NULL));
    fanfare_batch_free(&batch);
}

static void names(void)
{
    size_t keys = 0;
    fanfare_key key = FANFARE_KEY_INIT;
    fanfare_config *config = new_config();
    for (fanfare_status status; (status = fanfare_config_key(keys, &key, NULL)) != FANFARE_AGAIN; keys++) {
        char value[256];
        size_t len;
        OK(status);
        CHECK(*key.name && *key.expects && key.default_value && *key.doc && *key.part);
        OK(fanfare_config_get(config, key.name, value, sizeof value, &len, NULL));
        CHECK(strlen(value) == len);
    }
    CHECK(keys > 30);
    STATUS(FANFARE_AGAIN, fanfare_config_key(SIZE_MAX, &key, NULL));
    char value[4] = "zzz";
    size_t len;
    OK(fanfare_config_set(config, "history.events", "12345", NULL));
    OK(fanfare_config_get(config, "history.events", value, 3, &len, NULL));
    CHECK(!strcmp(value, "12") && value[3] == 0 && len == 5);
    OK(fanfare_config_get(config, "history.events", NULL, 0, &len, NULL));
    fanfare_error err = FANFARE_ERROR_INIT;
    STATUS(FANFARE_ERR_INVALID_CONFIG, fanfare_config_get(config, "histroy.events", NULL, 0, &len, &err));
    CHECK(strstr(err.message, "history.events"));
    STATUS(FANFARE_ERR_INVALID_CONFIG,
        fanfare_config_toml(config, fanfare_text("lag = \"skip\"\n[history]\nevents = \"x\"\n"), "mine.toml", &err));
    CHECK(strstr(err.message, "mine.toml"));
    OK(fanfare_config_get(config, "lag", value, sizeof value, &len, NULL));
    CHECK(!strcmp(value, "dis"));
    OK(fanfare_config_toml(config, fanfare_text("lag = \"skip\"\n"), NULL, NULL));
    OK(fanfare_config_get(config, "lag", value, sizeof value, &len, NULL));
    CHECK(!strcmp(value, "ski"));
    STATUS(FANFARE_ERR_INVALID_CONFIG, fanfare_config_file(config, "/no/such/file.toml", &err));
    CHECK(strstr(err.message, "/no/such/file.toml"));
    fanfare_config_free(&config);
    STATUS(FANFARE_ERR_ABI_MISMATCH, fanfare_config_new(FANFARE_ABI_VERSION + 1, &config, NULL));
    STATUS(FANFARE_ERR_ABI_MISMATCH, fanfare_config_new(0, &config, NULL));
    for (fanfare_status code = 1; code > -60; code--) {
        const char *name = fanfare_code_name(code);
        CHECK(*name && *fanfare_strerror(code));
        CHECK(fanfare_code_number(name) == code || !strcmp(name, "unknown"));
    }
    CHECK(!strcmp(fanfare_code_name(INT32_MIN), "unknown") && !strcmp(fanfare_code_name(INT32_MAX), "unknown"));
    CHECK(fanfare_code_number("") == INT32_MIN);
    CHECK(*fanfare_version());
    CHECK(!strncmp(fanfare_url(hub), "http://127.0.0.1:", 17));
    CHECK(strstr(fanfare_urls(hub), fanfare_url(hub)));
    /* The address is taken. */
    config = new_config();
    fanfare_hub *second = NULL;
    OK(fanfare_config_set(config, "listen", fanfare_url(hub) + 7, NULL));
    STATUS(FANFARE_ERR_START_FAILED, fanfare_start(config, &second, &err));
    if (err.os_errno != EADDRINUSE || !strstr(err.message, fanfare_url(hub) + 7) || second) {
        fprintf(stderr, "errno %d: %s\n", (int)err.os_errno, err.message);
        abort();
    }
    fanfare_config_free(&config);
}

static void batches(void)
{
    fanfare_event events[3];
    fanfare_published done[3];
    size_t failed = 99;
    fanfare_stats before = FANFARE_STATS_INIT, after = FANFARE_STATS_INIT;
    memset(events, 0, sizeof events);
    memset(done, 0, sizeof done);
    for (int n = 0; n < 3; n++) {
        events[n].size = sizeof *events;
        done[n].size = sizeof *done;
        events[n].topic = fanfare_text("batch");
    }
    events[1].event = fanfare_text("a\nb");
    OK(fanfare_get_stats(hub, &before, NULL));
    STATUS(FANFARE_ERR_INVALID_EVENT, fanfare_publish_batch(hub, events, 3, done, &failed, NULL));
    CHECK(failed == 1);
    OK(fanfare_get_stats(hub, &after, NULL));
    CHECK(after.published == before.published);
    events[1].event = fanfare_text("b");
    events[1].id = fanfare_text("own");
    OK(fanfare_publish_batch(hub, events, 3, done, &failed, NULL));
    CHECK(done[2].position == done[0].position + 2 && done[1].events == 1);
    CHECK(!strcmp(done[1].id, "own") && done[1].id_len == 3 && strlen(done[2].id) == done[2].id_len);
    OK(fanfare_publish_batch(hub, NULL, 0, NULL, NULL, NULL));
}

/* Arguments are judged alike in builds with handlers and without. */
static void handlers(void)
{
    const fanfare_status invalid = FANFARE_ERR_INVALID_PARAMETER;
    fanfare_handler handler = FANFARE_HANDLER_INIT;
    fanfare_handler_info info = FANFARE_HANDLER_INFO_INIT;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_str broken = { "a\xff", 2 }, none = { NULL, 0 };
    size_t count = 77;
    char long_text[300];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_load_handler(hub, NULL, NULL, NULL));
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.topics = fanfare_text("t*");
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.bytes = fanfare_text("no module");
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.name = fanfare_text("");
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.name = fanfare_text("a\nb");
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.name = fanfare_text(long_text);
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.name = broken;
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.name = fanfare_text("h");
    handler.file = fanfare_text("h.wasm");
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.name = none;
    STATUS(invalid, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.file = none;
    handler.name = fanfare_text("h");
    const char *const topics[] = { "", "a\nb", long_text };
    for (size_t n = 0; n < 3; n++) {
        handler.topics = fanfare_text(topics[n]);
        STATUS(FANFARE_ERR_INVALID_TOPIC, fanfare_load_handler(hub, &handler, NULL, NULL));
    }
    handler.topics = broken;
    STATUS(FANFARE_ERR_INVALID_TOPIC, fanfare_load_handler(hub, &handler, NULL, NULL));
    handler.topics = fanfare_text("t*");
    info.size = 3;
    STATUS(invalid, fanfare_load_handler(hub, &handler, &info, NULL));
    info.size = sizeof info;
    handler.size = sizeof handler + 1024 * 1024;
    STATUS(invalid, fanfare_load_handler(hub, &handler, &info, NULL));
    handler.size = sizeof handler;
    /* What is no module at all is refused by both, each for its reason. */
    fanfare_status status = fanfare_load_handler(hub, &handler, &info, &err);
    CHECK(status == FANFARE_ERR_UNSUPPORTED ? strstr(err.message, "without event handlers") != NULL
                                            : status == FANFARE_ERR_INVALID_CONFIG && strstr(err.message, "h"));
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_unload_handler(hub, none, NULL));
    STATUS(invalid, fanfare_unload_handler(hub, broken, NULL));
    STATUS(FANFARE_AGAIN, fanfare_unload_handler(hub, fanfare_text("h"), NULL));
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_get_handlers(hub, NULL, 0, NULL, NULL));
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_get_handlers(hub, NULL, 1, &count, NULL));
    OK(fanfare_get_handlers(hub, NULL, 0, &count, NULL));
    CHECK(count == 0);
    OK(publish(hub, "t", "goes on"));
}

int main(void)
{
    watchdog();
    hub = start();
    nulls();
    forged();
    double_free();
    sizes();
    names();
    batches();
    handlers();
    CHECK(fanfare_stop(hub, FANFARE_STOP_DEFAULT, NULL, NULL) == FANFARE_OK);
    fanfare_free(&hub);
    puts("api: ok");
    return 0;
}
