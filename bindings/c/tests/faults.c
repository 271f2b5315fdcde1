/* A fault of the library's own in each of its layers: a panic that a build for this test alone makes on command. Each is a named error
 * or costs one connection; the hub goes on, every lock can be had again, nothing hangs, and nothing of it stays behind. */

#include "support.h"

/* Only in a build with the feature `failpoints`: the next thread that comes by that place panics there. */
extern int32_t fanfare_test_fail_at(const char *place);

static const char stream[] = "GET /events/t HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";

static atomic_int woken;

static void wake(void *user)
{
    (void)user;
    atomic_fetch_add(&woken, 1);
}

static void fail_at(const char *place)
{
    CHECK(fanfare_test_fail_at(place) == 0);
}

/* It came by there. */
static void has_failed(void)
{
    CHECK(fanfare_test_fail_at("") == 0);
}

static int open_stream(const fanfare_hub *hub)
{
    int fd = connect_to(fanfare_url(hub));
    CHECK(write(fd, stream, sizeof stream - 1) == (ssize_t)sizeof stream - 1);
    return fd;
}

/* Everything works: in process, over HTTP, and the queue. */
static void still_serves(fanfare_hub *hub)
{
    fanfare_stats stats = FANFARE_STATS_INIT;
    uint64_t id = subscribe(hub, "t", FANFARE_ON_DEMAND, 0);
    int client = open_stream(hub);
    read_until(client, "\r\n\r\n");
    OK(publish(hub, "t", "after"));
    read_until(client, "data: after\n");
    close(client);
    fanfare_batch *batch = NULL;
    size_t count;
    fanfare_status status = fanfare_pull(hub, id, 60000, &batch, NULL);
    CHECK(status == FANFARE_OK || status == FANFARE_AGAIN);
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && items[0].kind == FANFARE_ITEM_EVENT && is(items[0].data, "after"));
    fanfare_batch_free(&batch);
    OK(fanfare_unsubscribe(hub, id, NULL));
    OK(fanfare_get_stats(hub, &stats, NULL));
    drain(hub, NULL, NULL);
}

static void panicked(fanfare_status status, const fanfare_error *err, const char *place)
{
    STATUS(FANFARE_ERR_PANICKED, status);
    CHECK(err->code == FANFARE_ERR_PANICKED && strstr(err->message, place) && strstr(err->message, "report"));
    has_failed();
}

/* At the edge: every call is answered, whatever it was to do. */
static void at_the_edge(fanfare_hub *hub)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_stats stats = FANFARE_STATS_INIT;
    fanfare_batch *batch = NULL;
    fail_at("ffi.call");
    panicked(fanfare_get_stats(hub, &stats, &err), &err, "ffi.call");
    fail_at("ffi.call");
    panicked(fanfare_drain(hub, &batch, &err), &err, "ffi.call");
    fail_at("ffi.call");
    fanfare_hub *same = hub;
    fanfare_free(&same);
    /* A free has nobody to tell: the pointer is gone, and the hub runs on, of which this test has another one. */
    CHECK(same == NULL);
    has_failed();
    still_serves(hub);
}

/* Where an event is given its place, with the history locked. */
static void in_the_engine(fanfare_hub *hub)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_event events[2] = { FANFARE_EVENT_INIT, FANFARE_EVENT_INIT };
    uint64_t id = subscribe(hub, "t", FANFARE_ON_DEMAND, 0);
    events[0].topic = events[1].topic = fanfare_text("t");
    events[0].data = events[1].data = fanfare_text("lost");
    fail_at("engine.commit");
    panicked(fanfare_publish(hub, events, NULL, &err), &err, "engine.commit");
    fail_at("engine.commit");
    panicked(fanfare_publish_batch(hub, events, 2, NULL, NULL, &err), &err, "engine.commit");
    fanfare_batch *batch = NULL;
    STATUS(FANFARE_AGAIN, fanfare_pull(hub, id, 0, &batch, NULL));
    CHECK(batch == NULL);
    OK(publish(hub, "t", "kept"));
    fanfare_status status = fanfare_pull(hub, id, 0, &batch, NULL);
    CHECK(status == FANFARE_OK || status == FANFARE_AGAIN);
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && is(items[0].data, "kept"));
    fanfare_batch_free(&batch);
    OK(fanfare_unsubscribe(hub, id, NULL));
    still_serves(hub);
}

/* A wake-up that fails: what filled the queue has been done, and what comes next wakes again. */
static void in_the_wakeup(fanfare_hub *hub)
{
    uint64_t id = subscribe(hub, "t", 0, 0);
    drain(hub, NULL, NULL);
    OK(fanfare_set_wakeup(hub, wake, NULL, NULL, NULL));
    fail_at("ffi.wakeup");
    OK(publish(hub, "t", "1"));
    has_failed();
    CHECK(atomic_load(&woken) == 0);
    CHECK(drain(hub, NULL, NULL) == 1);
    OK(publish(hub, "t", "2"));
    CHECK(atomic_load(&woken) == 1 && drain(hub, NULL, NULL) == 1);
    /* On a thread of the library: a reader of it that ends with the hub is told all the same, further down. */
    OK(fanfare_set_wakeup(hub, NULL, NULL, NULL, NULL));
    OK(fanfare_unsubscribe(hub, id, NULL));
    drain(hub, NULL, NULL);
    still_serves(hub);
}

/* A request costs its connection, a lane its streams; their readers come back. */
static void in_the_server(fanfare_hub *hub)
{
    char text[4096];
    fail_at("server.request");
    int client = open_stream(hub);
    while (read(client, text, sizeof text) > 0)
        ;
    close(client);
    has_failed();
    still_serves(hub);
    client = open_stream(hub);
    read_until(client, "\r\n\r\n");
    fail_at("server.lane");
    OK(publish(hub, "t", "whom it may concern"));
    while (read(client, text, sizeof text) > 0)
        ;
    close(client);
    has_failed();
    still_serves(hub);
}

/* A start that fails leaves nothing behind; a stop that fails has stopped. */
static void in_the_hub(void)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_config *config = new_config();
    fanfare_hub *hub = NULL;
    size_t threads = running_threads(), descriptors = open_descriptors();
    fail_at("hub.start");
    panicked(fanfare_start(config, &hub, &err), &err, "hub.start");
    CHECK(hub == NULL);
    settle(running_threads, threads, "threads");
    settle(open_descriptors, descriptors, "descriptors");
    OK(fanfare_start(config, &hub, NULL));
    fanfare_config_free(&config);
    still_serves(hub);
    uint64_t id = subscribe(hub, "t", FANFARE_ON_DEMAND, 0);
    fail_at("hub.stop");
    panicked(fanfare_stop(hub, FANFARE_STOP_DEFAULT, NULL, &err), &err, "hub.stop");
    CHECK(!listens(hub));
    OK(fanfare_stop(hub, FANFARE_STOP_DEFAULT, NULL, NULL));
    STATUS(FANFARE_ERR_STOPPING, publish(hub, "t", "late"));
    /* Whoever waits is told, and nobody waits for ever. */
    fanfare_batch *batch = NULL;
    OK(fanfare_pull(hub, id, FANFARE_FOREVER, &batch, NULL));
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && items[0].kind == FANFARE_ITEM_END && items[0].code == FANFARE_ERR_STOPPING);
    fanfare_batch_free(&batch);
    drain(hub, NULL, NULL);
    STATUS(FANFARE_ERR_STOPPING, fanfare_wait(hub, FANFARE_FOREVER, NULL));
    fanfare_free(&hub);
    settle(running_threads, threads, "threads");
}

int main(void)
{
    watchdog();
    fanfare_hub *hub = start();
    still_serves(hub);
    at_the_edge(hub);
    in_the_engine(hub);
    in_the_wakeup(hub);
    in_the_server(hub);
    stop_and_free(&hub);
    in_the_hub();
    puts("faults: ok");
    return 0;
}
