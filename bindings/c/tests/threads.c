/* Many threads on one hub: stopping under fire, wake-ups that are never lost, waiting and pulling at once. */

#include <poll.h>

#include "support.h"

static pthread_t spawn(void *(*run)(void *), void *with)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, with) == 0);
    return thread;
}

static void join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Stop while eight threads publish */

static atomic_ulong published;

static void *publish_until_stopped(void *with)
{
    fanfare_hub *hub = with;
    for (;;) {
        fanfare_status status = publish(hub, "t", "x");
        if (status == FANFARE_ERR_STOPPING || status == FANFARE_ERR_STALE_HANDLE)
            return NULL;
        OK(status);
        atomic_fetch_add(&published, 1);
    }
}

static void *drain_until_stopped(void *with)
{
    fanfare_hub *hub = with;
    for (;;) {
        fanfare_status status = fanfare_wait(hub, 20, NULL);
        if (status == FANFARE_ERR_STOPPING || status == FANFARE_ERR_STALE_HANDLE)
            return NULL;
        CHECK(status >= 0);
        fanfare_batch *batch = NULL;
        status = fanfare_drain(hub, &batch, NULL);
        CHECK(status >= 0 || status == FANFARE_ERR_STALE_HANDLE);
        fanfare_batch_free(&batch);
    }
}

static void *subscribe_until_stopped(void *with)
{
    fanfare_hub *hub = with;
    for (;;) {
        uint64_t id = 0;
        fanfare_status status = try_subscribe(hub, "t", 0, 0, &id);
        if (!status)
            status = fanfare_unsubscribe(hub, id, NULL);
        if (status == FANFARE_ERR_STOPPING)
            return NULL;
        /* The stop may have ended it in between, and the drain have told so. */
        CHECK(status == FANFARE_OK || status == FANFARE_ERR_STALE_HANDLE);
    }
}

static void stop_under_fire(bool by_free, unsigned long fire)
{
    fanfare_hub *hub = start();
    pthread_t threads[10];
    fanfare_hub *same = hub;
    subscribe(hub, "t", 0, 0);
    atomic_store(&published, 0);
    for (int n = 0; n < 8; n++)
        threads[n] = spawn(publish_until_stopped, hub);
    threads[8] = spawn(drain_until_stopped, hub);
    if (!by_free)
        threads[9] = spawn(subscribe_until_stopped, hub);
    while (atomic_load(&published) < fire)
        pause_ms(1);
    if (by_free)
        fanfare_free(&hub);
    else
        OK(fanfare_stop(hub, 0, NULL, NULL));
    for (int n = 0; n < (by_free ? 9 : 10); n++)
        join(threads[n]);
    fanfare_stats stats = FANFARE_STATS_INIT;
    if (by_free) {
        STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_get_stats(same, &stats, NULL));
    } else {
        /* What was answered with OK was published, and nothing else. */
        OK(fanfare_get_stats(hub, &stats, NULL));
        CHECK(stats.published == atomic_load(&published));
    }
    fanfare_free(&hub);
}

/* Several threads stop at once: whoever returns with OK finds it done, whoever has no patience is told. */

static atomic_bool in_callback, go_on;

static void hold_the_stop(void *user)
{
    (void)user;
    atomic_store(&in_callback, true);
    while (!atomic_load(&go_on))
        pause_ms(1);
}

static void *stop_as_well(void *with)
{
    OK(fanfare_stop(with, 600000, NULL, NULL));
    CHECK(!listens(with));
    return NULL;
}

static void stopping_together(void)
{
    fanfare_hub *hub = start();
    pthread_t threads[4];
    /* Its end is told while the hub stops, to a wake-up that holds the stop. */
    subscribe(hub, "t", 0, 0);
    CHECK(listens(hub));
    drain(hub, NULL, NULL);
    OK(fanfare_set_wakeup(hub, hold_the_stop, NULL, NULL, NULL));
    for (int n = 0; n < 4; n++)
        threads[n] = spawn(stop_as_well, hub);
    while (!atomic_load(&in_callback))
        pause_ms(1);
    STATUS(FANFARE_AGAIN, fanfare_stop(hub, 0, NULL, NULL));
    STATUS(FANFARE_AGAIN, fanfare_stop(hub, 5, NULL, NULL));
    atomic_store(&go_on, true);
    for (int n = 0; n < 4; n++)
        join(threads[n]);
    OK(fanfare_stop(hub, 0, NULL, NULL));
    stop_and_free(&hub);
}

/* Two threads: one publishes, one sleeps until it is woken */

static fanfare_hub *raced;
static unsigned long race_events;
static pthread_mutex_t bell = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t rung = PTHREAD_COND_INITIALIZER;
static bool ringing;
static atomic_ulong wakeups, drops;

static void *publish_all(void *with)
{
    unsigned long *consumed = with;
    (void)consumed;
    for (unsigned long n = 1; n <= race_events; n++) {
        char text[24];
        snprintf(text, sizeof text, "%lu", n);
        OK(publish(raced, "t", text));
        /* Now and then the reader has to have gone to sleep. */
        if (n % 512 == 0)
            sched_yield();
    }
    return NULL;
}

static void ring(void *user)
{
    CHECK(user == &ringing);
    atomic_fetch_add(&wakeups, 1);
    pthread_mutex_lock(&bell);
    ringing = true;
    pthread_cond_signal(&rung);
    pthread_mutex_unlock(&bell);
}

static void dropped(void *user)
{
    CHECK(user == &ringing);
    atomic_fetch_add(&drops, 1);
}

enum how { BY_WAKEUP, BY_DESCRIPTOR, BY_WAITING };

static unsigned long seen;

static void in_order(const fanfare_item *item, void *with)
{
    (void)with;
    CHECK(item->kind == FANFARE_ITEM_EVENT);
    CHECK(number(item) == ++seen);
}

static void race(enum how how, unsigned long events)
{
    int fd = -1;
    char room[24];
    snprintf(room, sizeof room, "%lu", events);
    fanfare_config *config = new_config();
    OK(fanfare_config_set(config, "history.events", room, NULL));
    OK(fanfare_config_set(config, "history.bytes", "8GiB", NULL));
    OK(fanfare_config_set(config, "limits.history_bytes", "8GiB", NULL));
    OK(fanfare_start(config, &raced, NULL));
    fanfare_config_free(&config);
    subscribe(raced, "t", 0, 0);
    /* The first wake-up is for the subscription itself. */
    drain(raced, NULL, NULL);
    race_events = events;
    seen = 0;
    ringing = false;
    atomic_store(&wakeups, 0);
    atomic_store(&drops, 0);
    if (how == BY_WAKEUP)
        OK(fanfare_set_wakeup(raced, ring, &ringing, dropped, NULL));
    if (how == BY_DESCRIPTOR)
        OK(fanfare_poll_fd(raced, &fd, NULL));
    pthread_t publisher = spawn(publish_all, NULL);
    while (seen < events) {
        /* A wake-up that is lost hangs here, and the watchdog ends it. */
        if (how == BY_WAKEUP) {
            pthread_mutex_lock(&bell);
            while (!ringing)
                pthread_cond_wait(&rung, &bell);
            ringing = false;
            pthread_mutex_unlock(&bell);
        } else if (how == BY_DESCRIPTOR) {
            struct pollfd one = { fd, POLLIN, 0 };
            CHECK(poll(&one, 1, -1) == 1);
        } else {
            OK(fanfare_wait(raced, FANFARE_FOREVER, NULL));
        }
        drain(raced, in_order, NULL);
    }
    join(publisher);
    CHECK(seen == events);
    CHECK(drain(raced, NULL, NULL) == 0);
    stop_and_free(&raced);
    if (how == BY_WAKEUP) {
        CHECK(atomic_load(&drops) == 1);
        CHECK(atomic_load(&wakeups) >= 1 && atomic_load(&wakeups) <= events + 1);
    }
}

/* Several threads drain one hub: each event comes once, whoever gets it */

static atomic_ulong drained;
static atomic_uchar *got_by;

static void once(const fanfare_item *item, void *with)
{
    (void)with;
    CHECK(item->kind == FANFARE_ITEM_EVENT);
    CHECK(atomic_fetch_add(&got_by[number(item)], 1) == 0);
    atomic_fetch_add(&drained, 1);
}

static void *drain_all(void *with)
{
    (void)with;
    while (atomic_load(&drained) < race_events) {
        fanfare_status status = fanfare_wait(raced, 100, NULL);
        CHECK(status >= 0);
        drain(raced, once, NULL);
    }
    return NULL;
}

static void many_drainers(unsigned long events)
{
    char room[24];
    snprintf(room, sizeof room, "%lu", events);
    raced = start_with("history.events", room);
    race_events = events;
    got_by = calloc(events + 1, sizeof *got_by);
    CHECK(got_by != NULL);
    atomic_store(&drained, 0);
    subscribe(raced, "t", 0, 0);
    pthread_t threads[4];
    for (int n = 0; n < 3; n++)
        threads[n] = spawn(drain_all, NULL);
    threads[3] = spawn(publish_all, NULL);
    for (int n = 0; n < 4; n++)
        join(threads[n]);
    CHECK(atomic_load(&drained) == events);
    stop_and_free(&raced);
    free((void *)got_by);
}

/* Calls from the wake-up */

static atomic_int from_wakeup;

static void nothing(void *user)
{
    (void)user;
}

static void call_back(void *user)
{
    fanfare_hub *hub = user;
    fanfare_hub *freed = hub;
    fanfare_batch *batch = NULL;
    fanfare_stats stats = FANFARE_STATS_INIT;
    fanfare_error err = FANFARE_ERROR_INIT;
    uint64_t id;
    int fd;
    STATUS(FANFARE_ERR_DEADLOCK, publish(hub, "t", "x"));
    /* Given a `drop`, which runs inside. */
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_set_wakeup(hub, nothing, NULL, nothing, NULL));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_set_wakeup(hub, NULL, NULL, NULL, NULL));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_stop(hub, 0, NULL, &err));
    CHECK(err.code == FANFARE_ERR_DEADLOCK && strstr(err.message, "wake-up"));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_drain(hub, &batch, NULL));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_pull(hub, 1, FANFARE_FOREVER, &batch, NULL));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_wait(hub, FANFARE_FOREVER, NULL));
    STATUS(FANFARE_ERR_DEADLOCK, try_subscribe(hub, "t", 0, 0, &id));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_get_stats(hub, &stats, NULL));
    STATUS(FANFARE_ERR_DEADLOCK, fanfare_poll_fd(hub, &fd, NULL));
    fanfare_free(&freed);
    CHECK(freed == hub);
    atomic_fetch_add(&from_wakeup, 1);
}

static void calls_from_the_wakeup(void)
{
    fanfare_hub *hub = start();
    atomic_store(&from_wakeup, 0);
    OK(fanfare_set_wakeup(hub, call_back, hub, NULL, NULL));
    subscribe(hub, "t", 0, 0);
    CHECK(atomic_load(&from_wakeup) == 1);
    drain(hub, NULL, NULL);
    OK(publish(hub, "t", "x"));
    OK(publish(hub, "t", "y"));
    CHECK(atomic_load(&from_wakeup) == 2);
    CHECK(drain(hub, NULL, NULL) == 2);
    /* Taken away it is not called again. */
    OK(fanfare_set_wakeup(hub, NULL, NULL, NULL, NULL));
    OK(publish(hub, "t", "z"));
    CHECK(atomic_load(&from_wakeup) == 2);
    stop_and_free(&hub);
    CHECK(atomic_load(&from_wakeup) == 2);
    /* A call that fails has dropped what it was given. */
    atomic_store(&drops, 0);
    STATUS(FANFARE_ERR_NULL_POINTER, fanfare_set_wakeup(NULL, ring, &ringing, dropped, NULL));
    CHECK(atomic_load(&drops) == 1);
}

/* The descriptor is readable exactly while there is something to drain */

static bool readable(int fd)
{
    struct pollfd one = { fd, POLLIN, 0 };
    int ready = poll(&one, 1, 0);
    CHECK(ready >= 0);
    return ready == 1;
}

static void descriptor_is_exact(int turns)
{
    fanfare_hub *hub = start();
    int fd, again;
    OK(fanfare_poll_fd(hub, &fd, NULL));
    OK(fanfare_poll_fd(hub, &again, NULL));
    CHECK(fd == again);
    CHECK(!readable(fd));
    uint64_t id = subscribe(hub, "t", 0, 0);
    drain(hub, NULL, NULL);
    CHECK(!readable(fd));
    for (int n = 0; n < turns; n++) {
        OK(publish(hub, "t", "x"));
        CHECK(readable(fd) && readable(fd));
        if (n % 3 == 0)
            OK(publish(hub, "t", "y"));
        CHECK(drain(hub, NULL, NULL) == (n % 3 == 0 ? 2 : 1));
        CHECK(!readable(fd));
    }
    OK(publish(hub, "u", "unheard"));
    CHECK(!readable(fd));
    OK(fanfare_unsubscribe(hub, id, NULL));
    OK(publish(hub, "t", "x"));
    drain(hub, NULL, NULL);
    CHECK(!readable(fd));
    /* More than one drain takes. */
    for (uint64_t n = 0; n < 4200; n++)
        subscribe(hub, "many", FANFARE_ON_DEMAND, n);
    drain(hub, NULL, NULL);
    uint64_t reader = subscribe(hub, "many", 0, 7);
    drain(hub, NULL, NULL);
    for (int n = 0; n < 100; n++)
        OK(publish(hub, "many", "x"));
    fanfare_batch *batch = NULL;
    while (fanfare_drain(hub, &batch, NULL) == FANFARE_OK) {
        CHECK(readable(fd));
        fanfare_batch_free(&batch);
    }
    fanfare_batch_free(&batch);
    CHECK(!readable(fd));
    OK(fanfare_unsubscribe(hub, reader, NULL));
    OK(fanfare_stop(hub, 0, NULL, NULL));
    CHECK(readable(fd));
    drain(hub, NULL, NULL);
    stop_and_free(&hub);
}

/* Pulling with time-outs from several threads; a subscription that ends under them */

static atomic_ulong pulled;
static uint64_t pull_id;

static void *pull(void *with)
{
    fanfare_hub *hub = with;
    unsigned turn = 0;
    for (;;) {
        fanfare_batch *batch = NULL;
        const uint64_t patience[] = { 0, 1, 5, FANFARE_FOREVER };
        fanfare_status status = fanfare_pull(hub, pull_id, patience[turn++ % 4], &batch, NULL);
        if (status == FANFARE_ERR_STALE_HANDLE) {
            CHECK(batch == NULL);
            return NULL;
        }
        CHECK(status >= 0);
        size_t count;
        const fanfare_item *items = items_of(batch, &count);
        for (size_t n = 0; n < count; n++) {
            CHECK(items[n].kind == FANFARE_ITEM_EVENT && items[n].handle == pull_id && items[n].user == 11);
            atomic_fetch_add(&pulled, 1);
        }
        fanfare_batch_free(&batch);
    }
}

static void pulling_from_several_threads(unsigned long events)
{
    char room[24];
    snprintf(room, sizeof room, "%lu", events);
    fanfare_hub *hub = start_with("history.events", room);
    pthread_t threads[4];
    atomic_store(&pulled, 0);
    pull_id = subscribe(hub, "t", FANFARE_ON_DEMAND, 11);
    for (int n = 0; n < 4; n++)
        threads[n] = spawn(pull, hub);
    raced = hub;
    race_events = events;
    publish_all(NULL);
    while (atomic_load(&pulled) < events)
        pause_ms(1);
    pause_ms(20);
    CHECK(atomic_load(&pulled) == events);
    /* They wait, some for ever. */
    OK(fanfare_unsubscribe(hub, pull_id, NULL));
    for (int n = 0; n < 4; n++)
        join(threads[n]);
    /* And so does the end of the hub. */
    pull_id = subscribe(hub, "t", FANFARE_ON_DEMAND, 11);
    fanfare_batch *batch = NULL;
    STATUS(FANFARE_AGAIN, fanfare_pull(hub, pull_id, 1, &batch, NULL));
    OK(fanfare_stop(hub, 0, NULL, NULL));
    OK(fanfare_pull(hub, pull_id, FANFARE_FOREVER, &batch, NULL));
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && items[0].kind == FANFARE_ITEM_END && items[0].code == FANFARE_ERR_STOPPING);
    fanfare_batch_free(&batch);
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_pull(hub, pull_id, 0, &batch, NULL));
    drain(hub, NULL, NULL);
    STATUS(FANFARE_ERR_STOPPING, fanfare_wait(hub, FANFARE_FOREVER, NULL));
    stop_and_free(&hub);
}

int main(void)
{
    watchdog();
    /* Smaller where every access is watched. */
    unsigned long events = setting("RACE", 1000000);
    stop_under_fire(false, events < 5000 ? events : 5000);
    stop_under_fire(true, events < 5000 ? events : 5000);
    stopping_together();
    race(BY_WAKEUP, events);
    race(BY_DESCRIPTOR, events / 4);
    race(BY_WAITING, events / 4);
    many_drainers(events / 4);
    calls_from_the_wakeup();
    descriptor_is_exact(events < 10000 ? (int)events : 10000);
    pulling_from_several_threads(events / 10);
    printf("threads: %lu events in the race\n", events);
    return 0;
}
