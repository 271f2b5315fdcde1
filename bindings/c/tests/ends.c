/* Why readers and streams end: each of the four kinds, and each reason. */

#include "support.h"

enum { HISTORY = 8, BIG = 65536 };

/* The four kinds of what can be read. */
enum kind { QUEUED, PULLED, WRITTEN, ADOPTED, KINDS };

static const char *const names[] = { "queued", "pulled", "written by the host", "adopted" };

typedef struct {
    fanfare_hub *hub;
    enum kind kind;
    uint64_t id;
    /* The client's end of an adopted socket. */
    int client;
} target;

static target begin(enum kind kind, const char *lag)
{
    static const char number[] = "8";
    target made = { start_with("history.events", number), kind, 0, -1 };
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    fanfare_str topic = fanfare_text("t");
    CHECK(atoi(number) == HISTORY);
    options.topics = &topic;
    options.topics_len = 1;
    options.client = fanfare_text("me");
    options.user = 7;
    options.lag = strcmp(lag, "skip") ? FANFARE_LAG_DISCONNECT : FANFARE_LAG_SKIP;
    switch (kind) {
    case QUEUED:
        OK(fanfare_subscribe(made.hub, &options, &made.id, NULL));
        break;
    case PULLED:
        options.flags = FANFARE_ON_DEMAND;
        OK(fanfare_subscribe(made.hub, &options, &made.id, NULL));
        break;
    case WRITTEN:
        OK(fanfare_open_stream(made.hub, &options, &made.id, NULL));
        break;
    default: {
        fanfare_adopt_options how;
        int pair[2];
        memset(&how, 0, sizeof how);
        how.size = sizeof how;
        how.flags = FANFARE_NOTIFY_END;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        OK(fanfare_adopt(made.hub, pair[0], &options, &how, &made.id, NULL));
        close(pair[0]);
        made.client = pair[1];
        read_until(made.client, "\r\n\r\n");
        break;
    }
    }
    return made;
}

/* Looks through a batch for the end; true if it is there. Nothing of this target comes behind it. */
static bool see(const target *of, const fanfare_batch *batch, fanfare_status wanted)
{
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    bool over = false;
    for (size_t n = 0; n < count; n++) {
        if (items[n].handle != of->id)
            continue;
        CHECK(!over && items[n].user == 7);
        if (items[n].kind != FANFARE_ITEM_END)
            continue;
        over = true;
        if (items[n].code != wanted) {
            fprintf(stderr, "%s: it ends for %s, not %s\n", names[of->kind], fanfare_code_name(items[n].code),
                fanfare_code_name(wanted));
            abort();
        }
    }
    return over;
}

/* Reads what the client gets to the end of its connection. */
static void read_out(target *of)
{
    char text[65536];
    ssize_t more;
    while ((more = read(of->client, text, sizeof text)) > 0)
        ;
    CHECK(more == 0);
    close(of->client);
    of->client = -1;
}

/* Reads to the end, which has to be for that reason, and is told once. */
static void ends(target *of, fanfare_status wanted)
{
    /* Where a client stands is looked at when it takes something again. */
    if (of->client >= 0 && wanted == FANFARE_ERR_LAPPED)
        read_out(of);
    bool pulls = of->kind == PULLED || of->kind == WRITTEN, over = false;
    while (!over) {
        fanfare_batch *batch = NULL;
        if (pulls) {
            CHECK(fanfare_pull(of->hub, of->id, FANFARE_FOREVER, &batch, NULL) >= 0);
        } else {
            CHECK(fanfare_wait(of->hub, FANFARE_FOREVER, NULL) >= 0);
            CHECK(fanfare_drain(of->hub, &batch, NULL) >= 0);
        }
        over = see(of, batch, wanted);
        fanfare_batch_free(&batch);
    }
    /* It is gone, and so is its id. */
    fanfare_batch *batch = NULL;
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_pull(of->hub, of->id, 0, &batch, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_close_stream(of->hub, of->id, NULL));
    drain(of->hub, NULL, NULL);
    /* The client has been told, too: its connection is over. */
    if (of->client >= 0)
        read_out(of);
    stop_and_free(&of->hub);
}

/* More than history holds; for a socket as much as no buffer takes. */
static void flood(const target *of)
{
    static char big[BIG + 1];
    memset(big, 'x', BIG);
    for (int n = 0; n < 40 * HISTORY; n++)
        OK(publish(of->hub, "t", of->kind == ADOPTED ? big : "x"));
}

static void each_reason(enum kind kind)
{
    target it = begin(kind, "disconnect");
    flood(&it);
    ends(&it, FANFARE_ERR_LAPPED);

    it = begin(kind, "disconnect");
    OK(publish(it.hub, "t", "last"));
    OK(fanfare_close_topic(it.hub, fanfare_text("t"), NULL));
    ends(&it, FANFARE_ERR_TOPIC_CLOSED);

    it = begin(kind, "disconnect");
    OK(publish(it.hub, "t", "last"));
    OK(fanfare_stop(it.hub, 0, NULL, NULL));
    ends(&it, FANFARE_ERR_STOPPING);

    /* One that does not read while the hub stops. */
    it = begin(kind, "skip");
    flood(&it);
    OK(fanfare_stop(it.hub, 0, NULL, NULL));
    ends(&it, FANFARE_ERR_STOPPING);
}

int main(void)
{
    watchdog();
    for (int kind = 0; kind < KINDS; kind++) {
        each_reason((enum kind)kind);
        printf("%s: ends for lapped, topic_closed, stopping\n", names[kind]);
    }
    return 0;
}
