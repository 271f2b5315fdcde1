/* A hub inside a C program: it publishes, reads along, and serves the same events to browsers. */
#include <stdio.h>

#include "fanfare.h"

static void print_all(fanfare_hub *hub)
{
    fanfare_status status;
    do {
        fanfare_batch *batch;
        const fanfare_item *items;
        size_t count = 0;
        status = fanfare_drain(hub, &batch, NULL);
        if (status >= 0 && batch)
            fanfare_batch_items(batch, sizeof *items, &items, &count, NULL);
        for (size_t n = 0; n < count; n++)
            if (items[n].kind == FANFARE_ITEM_EVENT)
                printf("%.*s\n", (int)items[n].data.len, items[n].data.ptr);
        fanfare_batch_free(&batch);
    } while (status == FANFARE_OK);
}

int main(void)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_config *config = NULL;
    fanfare_hub *hub = NULL;

    /* Port 0 takes any free port; without a configuration it is http://127.0.0.1:4780. */
    if (fanfare_config_new(FANFARE_ABI_VERSION, &config, &err) != FANFARE_OK
        || fanfare_config_set(config, "listen", "127.0.0.1:0", &err) != FANFARE_OK
        || fanfare_start(config, &hub, &err) != FANFARE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    fanfare_config_free(&config);
    fprintf(stderr, "open %s/events/chat\n", fanfare_url(hub));

    fanfare_str chat = fanfare_text("chat");
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    options.topics = &chat;
    options.topics_len = 1;
    uint64_t reader;
    fanfare_subscribe(hub, &options, &reader, NULL);

    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = chat;
    event.data = fanfare_text("hello");
    if (fanfare_publish(hub, &event, NULL, &err) != FANFARE_OK)
        fprintf(stderr, "%s\n", err.message);
    event.topic = fanfare_text("not\na topic");
    if (fanfare_publish(hub, &event, NULL, &err) != FANFARE_OK)
        printf("%s: %s\n", fanfare_code_name(err.code), err.message);
    print_all(hub);

    fanfare_stop(hub, 1000, NULL, NULL);
    fanfare_free(&hub);
    return 0;
}
