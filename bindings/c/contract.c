/* The contract suite's runner for C: see bindings/contract/README.md.
 *
 * Usage: contract FILE..
 *
 * Long because: it is the table of all commands of the scenarios, each a few lines; how words are read is in contract_words.h. */

#define _POSIX_C_SOURCE 200809L
#include "contract_words.h"

enum { MAX_WORDS = 32, MAX_READERS = 32, MAX_SAVED = 32, MAX_BATCH = 64, MAX_HANDLERS = 16 };

/* An item that came while another one's was looked for. */
typedef struct item {
    int32_t kind;
    fanfare_status code;
    bytes topic, id, data, event;
    bool has_event;
    struct item *next;
} item;

typedef struct {
    char name[64];
    uint64_t id;
    bool open;
    item *first, **last;
} reader;

/* One scenario. */
static struct {
    char name[128];
    fanfare_config *config;
    fanfare_hub *hub;
    reader readers[MAX_READERS];
    size_t readers_len;
    struct {
        char name[64];
        char id[FANFARE_ID_BYTES];
    } saved[MAX_SAVED];
    size_t saved_len;
    bool batching;
    fanfare_event batch[MAX_BATCH];
    size_t batch_len;
} run;

static int failures, scenarios;

static const char *saved(const char *name)
{
    for (size_t n = 0; n < run.saved_len; n++)
        if (!strcmp(run.saved[n].name, name))
            return run.saved[n].id;
    fail("nothing is saved as %s", name);
    return "";
}

/* Commands: each gives the status of its call. */

static fanfare_status set_option(const char *key, const char *text, fanfare_error *err)
{
    if (!run.config) {
        fanfare_status status = fanfare_config_new(FANFARE_ABI_VERSION, &run.config, err);
        if (status) return status;
        fanfare_config_set(run.config, "listen", "127.0.0.1:0", NULL);
        fanfare_config_set(run.config, "console", "false", NULL);
        fanfare_config_set(run.config, "log", "error", NULL);
    }
    return key ? fanfare_config_set(run.config, key, text, err) : FANFARE_OK;
}

static fanfare_status start(fanfare_error *err)
{
    fanfare_status status = set_option(NULL, NULL, err);
    if (status) return status;
    fanfare_free(&run.hub);
    return fanfare_start(run.config, &run.hub, err);
}

static fanfare_status publish(char **words, size_t len, const char *number, fanfare_error *err)
{
    fanfare_event event = FANFARE_EVENT_INIT;
    fanfare_published done = FANFARE_PUBLISHED_INIT;
    only(words, len, "topic data event id except key retry save");
    event.topic = value(words, len, "topic");
    event.data = number ? fanfare_text(number) : value(words, len, "data");
    event.event = value(words, len, "event");
    event.id = value(words, len, "id");
    event.except = value(words, len, "except");
    event.key = value(words, len, "key");
    const char *retry = field(words, len, "retry"), *save = field(words, len, "save");
    if (retry) {
        event.retry_ms = strtoull(retry, NULL, 10);
        event.flags = FANFARE_EVENT_RETRY;
    }
    if (run.batching) {
        if (run.batch_len == MAX_BATCH || save)
            fail("too many events in a batch, or `save` in one");
        else
            run.batch[run.batch_len++] = event;
        return FANFARE_OK;
    }
    fanfare_status status = fanfare_publish(run.hub, &event, &done, err);
    if (!status && save && run.saved_len < MAX_SAVED) {
        snprintf(run.saved[run.saved_len].name, sizeof run.saved->name, "%s", save);
        memcpy(run.saved[run.saved_len++].id, done.id, sizeof done.id);
    }
    return status;
}

static fanfare_status repeat(char **words, size_t len, fanfare_error *err)
{
    unsigned long times = len > 1 ? strtoul(words[0], NULL, 10) : 0;
    if (!times || strcmp(words[1], "publish"))
        fail("repeat N publish ..");
    for (unsigned long n = 1; n <= times; n++) {
        char number[24];
        snprintf(number, sizeof number, "%lu", n);
        size_t kept = scene.memory_len;
        fanfare_status status = publish(words + 2, len - 2, number, err);
        while (scene.memory_len > kept)
            free(scene.memory[--scene.memory_len]);
        if (status) return status;
    }
    return FANFARE_OK;
}

static fanfare_status subscribe(char **words, size_t len, fanfare_error *err)
{
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    only(words + 1, len - 1, "topics since since_saved replay client events lag");
    options.topics = list(words, len, "topics", &options.topics_len);
    options.events = list(words, len, "events", &options.events_len);
    options.client = value(words, len, "client");
    options.last_event_id = value(words, len, "since");
    const char *name = field(words, len, "since_saved");
    if (name) options.last_event_id = fanfare_text(saved(name));
    const char *replay = field(words, len, "replay"), *lag = field(words, len, "lag");
    if (replay) options.replay = strcmp(replay, "all") ? strtoull(replay, NULL, 10) : FANFARE_REPLAY_ALL;
    if (lag) {
        options.lag = !strcmp(lag, "disconnect") ? FANFARE_LAG_DISCONNECT
            : !strcmp(lag, "skip")               ? FANFARE_LAG_SKIP
            : !strcmp(lag, "conflate")           ? FANFARE_LAG_CONFLATE
                                                 : UINT32_MAX;
    }
    uint64_t id;
    fanfare_status status = fanfare_subscribe(run.hub, &options, &id, err);
    if (!status && run.readers_len < MAX_READERS) {
        reader *made = &run.readers[run.readers_len++];
        snprintf(made->name, sizeof made->name, "%s", words[0]);
        made->id = id;
        made->open = true;
        made->first = NULL;
        made->last = &made->first;
    }
    return status;
}

static reader *find(const char *name)
{
    for (size_t n = run.readers_len; n-- > 0;)
        if (!strcmp(run.readers[n].name, name))
            return &run.readers[n];
    fail("no subscription %s", name);
    return NULL;
}

static fanfare_status load(char **words, size_t len, fanfare_error *err)
{
    fanfare_handler handler = FANFARE_HANDLER_INIT;
    only(words, len, "topics file bytes name settings");
    handler.topics = value(words, len, "topics");
    handler.file = value(words, len, "file");
    handler.bytes = value(words, len, "bytes");
    handler.name = value(words, len, "name");
    handler.settings = value(words, len, "settings");
    return fanfare_load_handler(run.hub, &handler, NULL, err);
}

/* The handlers as they are now. */
static size_t list_handlers(fanfare_handler_info *infos)
{
    size_t count = 0;
    for (size_t n = 0; n < MAX_HANDLERS; n++)
        infos[n] = (fanfare_handler_info)FANFARE_HANDLER_INFO_INIT;
    if (fanfare_get_handlers(run.hub, infos, MAX_HANDLERS, &count, NULL) || count > MAX_HANDLERS)
        fail("the handlers cannot be listed");
    return scene.failed ? 0 : count;
}

static void handlers(char **names, size_t len)
{
    fanfare_handler_info infos[MAX_HANDLERS];
    size_t count = list_handlers(infos);
    if (count != len) fail("there are %zu handlers", count);
    for (size_t n = 0; n < len && n < count; n++)
        if (strcmp(infos[n].name, decode_word(names[n]).ptr)) fail("there is %s instead of %s", infos[n].name, names[n]);
}

static void handler(char **words, size_t len)
{
    fanfare_handler_info infos[MAX_HANDLERS];
    size_t count = list_handlers(infos), n = 0;
    while (len && n < count && strcmp(infos[n].name, words[0])) n++;
    if (!len || n == count) {
        fail("there is no handler of that name");
        return;
    }
    const struct {
        const char *name;
        uint64_t value;
    } all[] = { { "calls", infos[n].calls }, { "passed", infos[n].passed }, { "dropped", infos[n].dropped },
        { "replaced", infos[n].replaced }, { "emitted", infos[n].emitted }, { "rejected", infos[n].rejected },
        { "faults", infos[n].faults }, { "rested", infos[n].rested } };
    only(words + 1, len - 1, "calls passed dropped replaced emitted rejected faults rested");
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        const char *wanted = field(words, len, all[k].name);
        if (wanted && strtoull(wanted, NULL, 10) != all[k].value)
            fail("%s of %s is %llu", all[k].name, infos[n].name, (unsigned long long)all[k].value);
    }
}

static fanfare_status stats(char **words, size_t len, fanfare_error *err)
{
    fanfare_stats now = FANFARE_STATS_INIT;
    fanfare_status status = fanfare_get_stats(run.hub, &now, err);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = { { "published", now.published }, { "refused", now.refused }, { "gaps", now.gaps },
        { "lapped", now.lapped }, { "topics", now.topics }, { "subscriptions", now.subscriptions },
        { "history_events", now.history_events } };
    only(words, len, "published refused gaps lapped topics subscriptions history_events");
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        const char *wanted = field(words, len, all[n].name);
        if (wanted && strtoull(wanted, NULL, 10) != all[n].value)
            fail("%s is %llu", all[n].name, (unsigned long long)all[n].value);
    }
    return status;
}

/* Reading */

/* Hands what the queue has to the subscriptions that it is for. */
static void drain(void)
{
    fanfare_status status = FANFARE_OK;
    while (status == FANFARE_OK && run.hub) {
        fanfare_batch *batch = NULL;
        const fanfare_item *items = NULL;
        size_t count = 0;
        status = fanfare_drain(run.hub, &batch, NULL);
        if (batch && fanfare_batch_items(batch, sizeof *items, &items, &count, NULL))
            fail("a batch gives no items");
        for (size_t n = 0; n < count; n++) {
            for (size_t r = 0; r < run.readers_len; r++) {
                reader *to = &run.readers[r];
                if (!to->open || to->id != items[n].handle)
                    continue;
                item *made = calloc(1, sizeof *made);
                if (!made) exit(2);
                made->kind = items[n].kind;
                made->code = items[n].code;
                made->topic = copy(items[n].topic);
                made->id = copy(items[n].id);
                made->data = copy(items[n].data);
                made->event = copy(items[n].event);
                made->has_event = items[n].event.ptr != NULL;
                *to->last = made;
                to->last = &made->next;
            }
        }
        fanfare_batch_free(&batch);
    }
    if (status < 0)
        fail("drain: %s", fanfare_code_name(status));
}

static item *take(reader *from)
{
    if (!from->first)
        drain();
    item *taken = from->first;
    if (taken) {
        from->first = taken->next;
        if (!from->first) from->last = &from->first;
    }
    return taken;
}

static bool same(bytes got, fanfare_str wanted)
{
    return got.len == wanted.len && !memcmp(got.ptr, wanted.ptr, got.len);
}

static void compare(const char *what, bytes got, fanfare_str wanted)
{
    if (wanted.ptr && !same(got, wanted))
        fail("%s is %.200s (%zu bytes)", what, got.ptr, got.len);
}

static const char *kind_name(int32_t kind)
{
    const char *names[] = { "?", "event", "gap", "end", "ready", "bytes" };
    return names[kind >= 1 && kind <= 5 ? kind : 0];
}

static void expect(char **words, size_t len)
{
    reader *from = len > 1 ? find(words[0]) : NULL;
    if (!from) {
        fail("expect NAME WHAT ..");
        return;
    }
    const char *what = words[1];
    item *got = take(from);
    if (!strcmp(what, "nothing")) {
        if (got) fail("there is an item: %s %.100s", kind_name(got->kind), got->data.ptr);
    } else if (!got) {
        fail("there is nothing");
    } else if (strcmp(what, kind_name(got->kind))) {
        fail("it is a%s %s (%s): %.100s", got->kind == FANFARE_ITEM_EVENT ? "n" : "", kind_name(got->kind),
            fanfare_code_name(got->code), got->data.ptr);
    } else if (!strcmp(what, "event")) {
        only(words + 2, len - 2, "data event topic id id_saved");
        compare("data", got->data, value(words, len, "data"));
        fanfare_str event = value(words, len, "event");
        if (got->has_event != (event.ptr != NULL)) fail("event type: %s", got->event.ptr);
        compare("event type", got->event, event);
        compare("topic", got->topic, value(words, len, "topic"));
        compare("id", got->id, value(words, len, "id"));
        const char *name = field(words, len, "id_saved");
        if (name) compare("id", got->id, fanfare_text(saved(name)));
    } else if (!strcmp(what, "gap")) {
        only(words + 2, len - 2, "requested");
        if (strcmp(got->event.ptr, "fanfare.gap")) fail("its type is %s", got->event.ptr);
        const char *requested = field(words, len, "requested");
        char text[300];
        snprintf(text, sizeof text, "\"requested\":\"%s\"", requested ? requested : "");
        if (requested && !strstr(got->data.ptr, text)) fail("notice: %s", got->data.ptr);
        if (!strstr(got->data.ptr, "\"oldest\":") || !strstr(got->data.ptr, "\"newest\":"))
            fail("notice: %s", got->data.ptr);
    } else if (!strcmp(what, "end")) {
        if (len < 3 || strcmp(words[2], fanfare_code_name(got->code)))
            fail("it ended for %s", fanfare_code_name(got->code));
        if (take(from)) fail("something comes after the end");
        from->open = false;
    } else {
        fail("unknown item %s", what);
    }
    free(got);
}

static void count(char **words, size_t len)
{
    reader *from = len == 2 ? find(words[0]) : NULL;
    unsigned long wanted = len == 2 ? strtoul(words[1], NULL, 10) : 0;
    if (!wanted) fail("count NAME N");
    for (unsigned long n = 1; n <= wanted && from && !scene.failed; n++) {
        char number[24];
        snprintf(number, sizeof number, "%lu", n);
        item *got = take(from);
        if (!got) fail("there is nothing, instead of %lu", n);
        else if (got->kind != FANFARE_ITEM_EVENT) fail("a %s instead of %lu", kind_name(got->kind), n);
        else compare("data", got->data, fanfare_text(number));
        free(got);
    }
}

/* Scenarios */

static void begin(const char *file, int line, const char *name)
{
    memset(&run, 0, sizeof run);
    memset(&scene, 0, sizeof scene);
    scene.file = file;
    scene.line = line;
    snprintf(run.name, sizeof run.name, "%s", name);
}

static void end(void)
{
    if (!*run.name) return;
    if (run.batching) fail("a batch without commit");
    if (run.hub && fanfare_stop(run.hub, 0, NULL, NULL)) fail("the hub does not stop");
    fanfare_free(&run.hub);
    fanfare_config_free(&run.config);
    for (size_t r = 0; r < run.readers_len; r++) {
        for (item *next, *at = run.readers[r].first; at; at = next) {
            next = at->next;
            free(at);
        }
    }
    while (scene.memory_len) free(scene.memory[--scene.memory_len]);
    scenarios++;
    if (scene.failed) {
        failures++;
        printf("FAIL %s: %s:%d: %s\n", run.name, scene.file, scene.line, scene.why);
    } else {
        printf("ok %s\n", run.name);
    }
    fflush(stdout);
    *run.name = 0;
}

static fanfare_status command(char **words, size_t len, fanfare_error *err)
{
    const char *name = words[0];
    char **args = words + 1;
    size_t args_len = len - 1;
    if (!strcmp(name, "start") && len == 1) return start(err);
    if (!strcmp(name, "stop") && len == 1) return fanfare_stop(run.hub, 0, NULL, err);
    if (!strcmp(name, "config") && len == 3)
        return set_option(decode_word(words[1]).ptr, decode_word(words[2]).ptr, err);
    if (!strcmp(name, "publish")) return publish(args, args_len, NULL, err);
    if (!strcmp(name, "repeat")) return repeat(args, args_len, err);
    if (!strcmp(name, "subscribe") && len > 1) return subscribe(args, args_len, err);
    if (!strcmp(name, "close") && len == 2) return fanfare_close_topic(run.hub, view(decode_word(words[1])), err);
    if (!strcmp(name, "delete") && len == 2)
        return fanfare_delete_history(run.hub, view(decode_word(words[1])), err);
    if (!strcmp(name, "stats")) return stats(args, args_len, err);
    if (!strcmp(name, "load")) return load(args, args_len, err);
    if (!strcmp(name, "unload") && len == 2) return fanfare_unload_handler(run.hub, view(decode_word(words[1])), err);
    if (!strcmp(name, "batch") && len == 1) {
        run.batching = true;
        run.batch_len = 0;
        return FANFARE_OK;
    }
    if (!strcmp(name, "commit") && len == 1) {
        run.batching = false;
        return fanfare_publish_batch(run.hub, run.batch, run.batch_len, NULL, NULL, err);
    }
    reader *of = len == 3 || len == 2 ? find(words[1]) : NULL;
    if (of && !strcmp(name, "add")) return fanfare_add_topic(run.hub, of->id, view(decode_word(words[2])), err);
    if (of && !strcmp(name, "remove")) return fanfare_remove_topic(run.hub, of->id, view(decode_word(words[2])), err);
    if (of && !strcmp(name, "unsubscribe")) return fanfare_unsubscribe(run.hub, of->id, err);
    fail("unknown command %s", name);
    return FANFARE_OK;
}

static void execute(char **words, size_t len)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    if (!strcmp(words[0], "expect")) {
        expect(words + 1, len - 1);
    } else if (!strcmp(words[0], "count")) {
        count(words + 1, len - 1);
    } else if (!strcmp(words[0], "handlers")) {
        handlers(words + 1, len - 1);
    } else if (!strcmp(words[0], "handler")) {
        handler(words + 1, len - 1);
    } else if (!strcmp(words[0], "again")) {
        fanfare_status status = len > 1 ? command(words + 1, len - 1, &err) : FANFARE_OK;
        if (status != FANFARE_AGAIN) fail("it gives %s: %s", fanfare_code_name(status), err.message);
    } else if (!strcmp(words[0], "refused")) {
        size_t colon = 1;
        while (colon < len && strcmp(words[colon], ":")) colon++;
        if (colon < 2 || colon + 1 >= len) {
            fail("refused CODE .. : COMMAND ..");
            return;
        }
        fanfare_status status = command(words + colon + 1, len - colon - 1, &err);
        if (strcmp(fanfare_code_name(status), words[1]) || status >= 0 || err.code != status)
            fail("it gives %s: %s", fanfare_code_name(status), err.message);
        for (size_t n = 2; n < colon; n++)
            if (!strstr(err.message, decode_word(words[n]).ptr))
                fail("the message does not mention %s: %s", words[n], err.message);
    } else {
        fanfare_status status = command(words, len, &err);
        if (status) fail("it gives %s: %s", fanfare_code_name(status), err.message);
    }
}

static void read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(2);
    }
    char *line = NULL;
    size_t room = 0;
    for (int number = 1; getline(&line, &room, file) >= 0; number++) {
        char *words[MAX_WORDS];
        size_t len = 0;
        line[strcspn(line, "\n")] = 0;
        if (*line == '#') continue;
        for (char *next, *word = strtok_r(line, " ", &next); word && len < MAX_WORDS; word = strtok_r(NULL, " ", &next))
            words[len++] = word;
        if (!len) continue;
        if (!strcmp(words[0], "scenario") && len == 2) {
            end();
            begin(path, number, words[1]);
        } else if (!*run.name) {
            fprintf(stderr, "%s:%d: outside a scenario\n", path, number);
            exit(2);
        } else if (!scene.failed) {
            scene.line = number;
            execute(words, len);
        }
    }
    end();
    free(line);
    fclose(file);
}

int main(int argc, char **argv)
{
    for (int n = 1; n < argc; n++)
        read_file(argv[n]);
    return failures || !scenarios;
}
