/* Random sequences of calls, right and wrong, from several threads at once: stale, forged and foreign ids and handles, double frees,
 * calls after a stop and inside the wake-up, texts that are none. Whatever comes, it is a status; the sanitisers see the rest.
 *
 * Each seed of a fixed list makes the same calls on each thread every time. CALLS is their number in all. */

#include <poll.h>

#include "support.h"

enum { THREADS = 4, HUBS = 3, IDS = 64, BATCHES = 8, CONFIGS = 4 };

/* What the threads share: whoever takes a thing may find it freed by another. */
static _Atomic(fanfare_hub *) hubs[HUBS];
static _Atomic(uint64_t) ids[IDS];
static _Atomic(fanfare_config *) configs[CONFIGS];
static atomic_ulong done, refused, wakes, drops, sets;

typedef struct {
    uint64_t state;
    unsigned long calls;
    fanfare_batch *batches[BATCHES];
} actor;

static uint64_t draw(actor *self)
{
    /* splitmix64 */
    uint64_t z = self->state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static uint64_t below(actor *self, uint64_t limit)
{
    return draw(self) % limit;
}

static fanfare_hub *any_hub(actor *self)
{
    switch (below(self, 40)) {
    case 0: return NULL;
    case 1: return (fanfare_hub *)(uintptr_t)draw(self);
    case 2: return (fanfare_hub *)atomic_load(&configs[below(self, CONFIGS)]);
    case 3: return (fanfare_hub *)((uintptr_t)atomic_load(&hubs[0]) ^ (uintptr_t)1 << below(self, 64));
    default: return atomic_load(&hubs[below(self, HUBS)]);
    }
}

static uint64_t any_id(actor *self)
{
    switch (below(self, 12)) {
    case 0: return draw(self);
    case 1: return below(self, 4);
    case 2: return atomic_load(&ids[below(self, IDS)]) ^ 1ULL << below(self, 64);
    default: return atomic_load(&ids[below(self, IDS)]);
    }
}

static fanfare_str any_text(actor *self)
{
    static const char long_text[300] = "x";
    static const struct {
        const char *text;
        size_t len;
    } odd[] = { { "", 0 }, { "a\nb", 3 }, { "a\rb", 3 }, { "a\0b", 3 }, { "\xff\xfe", 2 }, { "\xf0\x9f", 2 },
        { "\xed\xa0\x80", 3 }, { long_text, sizeof long_text }, { NULL, 0 }, { NULL, 9 }, { "fanfare.gap", 11 } };
    static const char *const good[] = { "a", "b", "c", "chat", "caf\xc3\xa9" };
    fanfare_str text;
    if (below(self, 6) == 0) {
        size_t n = below(self, sizeof odd / sizeof *odd);
        text.ptr = odd[n].text;
        text.len = odd[n].len;
        return text;
    }
    return fanfare_text(good[below(self, sizeof good / sizeof *good)]);
}

static size_t any_size(actor *self, size_t right)
{
    const size_t sizes[] = { 0, 7, right / 2 & ~(size_t)7, SIZE_MAX, 65537, right - 8 };
    return below(self, 12) ? right : sizes[below(self, sizeof sizes / sizeof *sizes)];
}

static void wake(void *user)
{
    fanfare_hub *hub = user;
    atomic_fetch_add(&wakes, 1);
    if (atomic_load(&wakes) % 4 == 0) {
        fanfare_batch *batch = NULL;
        CHECK(publish(hub, "a", "x") == FANFARE_ERR_DEADLOCK);
        CHECK(fanfare_drain(hub, &batch, NULL) == FANFARE_ERR_DEADLOCK && !batch);
        CHECK(fanfare_stop(hub, 0, NULL, NULL) == FANFARE_ERR_DEADLOCK);
    }
}

static void let_go(void *user)
{
    (void)user;
    atomic_fetch_add(&drops, 1);
}

static fanfare_hub *new_hub(void)
{
    fanfare_hub *hub = NULL;
    fanfare_config *config = new_config();
    OK(fanfare_config_set(config, "history.events", "16", NULL));
    OK(fanfare_config_set(config, "limits.topics", "8", NULL));
    OK(fanfare_start(config, &hub, NULL));
    fanfare_config_free(&config);
    return hub;
}

static void look(fanfare_batch *batch)
{
    const fanfare_item *items;
    size_t count, sum = 0;
    if (fanfare_batch_items(batch, sizeof *items, &items, &count, NULL))
        return;
    for (size_t n = 0; n < count; n++) {
        CHECK(items[n].kind >= FANFARE_ITEM_EVENT && items[n].kind <= 6);
        for (size_t at = 0; at < items[n].data.len; at++)
            sum += (unsigned char)items[n].data.ptr[at];
        for (size_t at = 0; at < items[n].id.len; at++)
            sum += (unsigned char)items[n].id.ptr[at];
    }
    CHECK(sum < SIZE_MAX);
}

/* Keeps a batch, freeing the one that stood there. */
static void keep(actor *self, fanfare_batch *batch)
{
    size_t n = below(self, BATCHES);
    if (!batch)
        return;
    look(batch);
    fanfare_batch *old = self->batches[n], *copy = old;
    fanfare_batch_free(&old);
    if (below(self, 4) == 0)
        fanfare_batch_free(&copy);
    self->batches[n] = batch;
}

static fanfare_status one(actor *self)
{
    fanfare_error err = FANFARE_ERROR_INIT, *room = below(self, 2) ? &err : NULL;
    fanfare_hub *hub = any_hub(self);
    fanfare_batch *batch = NULL;
    fanfare_status status;
    err.size = any_size(self, sizeof err);
    switch (below(self, 36)) {
    default: {
        fanfare_event event = FANFARE_EVENT_INIT;
        fanfare_published result = FANFARE_PUBLISHED_INIT;
        event.size = any_size(self, sizeof event);
        result.size = any_size(self, sizeof result);
        event.topic = any_text(self);
        event.data = any_text(self);
        if (below(self, 4) == 0) event.event = any_text(self);
        if (below(self, 8) == 0) event.id = any_text(self);
        if (below(self, 8) == 0) event.except = any_text(self);
        if (below(self, 8) == 0) event.key = any_text(self);
        if (below(self, 32) == 0) event.flags = (uint32_t)draw(self);
        event.retry_ms = below(self, 2) ? 5 : draw(self);
        return fanfare_publish(hub, &event, below(self, 2) ? &result : NULL, room);
    }
    case 0: case 1: {
        fanfare_event events[4];
        size_t failed;
        memset(events, 0, sizeof events);
        for (int n = 0; n < 4; n++) {
            events[n].size = any_size(self, sizeof *events);
            events[n].topic = any_text(self);
            events[n].data = any_text(self);
        }
        return fanfare_publish_batch(hub, events, below(self, 5), NULL, below(self, 2) ? &failed : NULL, room);
    }
    case 2: case 3: case 4: case 5: {
        fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
        fanfare_str topics[3] = { any_text(self), any_text(self), any_text(self) }, event = any_text(self);
        uint64_t id = 0;
        options.size = any_size(self, sizeof options);
        options.topics = topics;
        options.topics_len = below(self, 4);
        options.replay = below(self, 3) ? below(self, 20) : FANFARE_REPLAY_ALL;
        if (below(self, 8) == 0) options.last_event_id = any_text(self);
        if (below(self, 8) == 0) options.client = any_text(self);
        if (below(self, 8) == 0) {
            options.events = &event;
            options.events_len = 1;
        }
        options.lag = (uint32_t)below(self, 5);
        options.flags = (uint32_t)(below(self, 16) ? below(self, 2) : draw(self));
        options.user = draw(self);
        status = below(self, 4) ? fanfare_subscribe(hub, &options, &id, room)
                                : fanfare_open_stream(hub, &options, &id, room);
        if (!status) {
            /* The one that stood there is ended, mostly. */
            uint64_t old = atomic_exchange(&ids[below(self, IDS)], id);
            if (below(self, 8)) {
                for (int n = 0; n < HUBS; n++) {
                    fanfare_unsubscribe(atomic_load(&hubs[n]), old, NULL);
                    fanfare_close_stream(atomic_load(&hubs[n]), old, NULL);
                }
            }
        }
        return status;
    }
    case 6: return fanfare_unsubscribe(hub, any_id(self), room);
    case 7: return fanfare_add_topic(hub, any_id(self), any_text(self), room);
    case 8: return fanfare_remove_topic(hub, any_id(self), any_text(self), room);
    case 9: return fanfare_close_stream(hub, any_id(self), room);
    case 10: case 11: case 12: case 13:
        status = fanfare_drain(hub, below(self, 16) ? &batch : NULL, room);
        keep(self, batch);
        return status;
    case 14: case 15: case 16:
        status = fanfare_pull(hub, any_id(self), below(self, 8) ? 0 : 1, &batch, room);
        keep(self, batch);
        return status;
    case 17: return fanfare_wait(hub, below(self, 8) ? 0 : 1, room);
    case 18: {
        fanfare_stats stats = FANFARE_STATS_INIT;
        stats.size = any_size(self, sizeof stats);
        return fanfare_get_stats(hub, below(self, 16) ? &stats : NULL, room);
    }
    case 19: {
        int fd;
        return fanfare_poll_fd(hub, below(self, 16) ? &fd : NULL, room);
    }
    case 20:
        atomic_fetch_add(&sets, 1);
        return fanfare_set_wakeup(hub, below(self, 4) ? wake : NULL, hub, let_go, room);
    case 21: {
        size_t n = below(self, BATCHES);
        const fanfare_item *items;
        size_t count;
        status = fanfare_batch_items(self->batches[n], any_size(self, sizeof *items), below(self, 16) ? &items : NULL,
            &count, room);
        return status;
    }
    case 22: {
        size_t n = below(self, CONFIGS);
        fanfare_config *config = atomic_exchange(&configs[n], NULL), *made = NULL, *copy = config;
        fanfare_config_free(&config);
        if (below(self, 4) == 0)
            fanfare_config_free(&copy);
        status = fanfare_config_new(below(self, 8) ? FANFARE_ABI_VERSION : (uint32_t)draw(self), &made, room);
        /* Another thread may have put one there. */
        made = atomic_exchange(&configs[n], made);
        fanfare_config_free(&made);
        return status;
    }
    case 23: {
        static const char *const keys[] = { "lag", "heartbeat", "history.events", "nonsense", "", "\xff", NULL };
        static const char *const values[] = { "skip", "5s", "12", "nonsense", "", "\xff", NULL };
        return fanfare_config_set(atomic_load(&configs[below(self, CONFIGS)]), keys[below(self, 7)],
            values[below(self, 7)], room);
    }
    case 24: return fanfare_config_toml(atomic_load(&configs[below(self, CONFIGS)]), any_text(self), NULL, room);
    case 25: {
        /* Seldom, and not under every thread's feet at once: closing a topic is for ever. */
        if (below(self, 64))
            return fanfare_adopt(hub, (int)below(self, 3) - 2, NULL, NULL, NULL, room);
        return below(self, 2) ? fanfare_close_topic(hub, any_text(self), room)
                              : fanfare_delete_history(hub, any_text(self), room);
    }
    case 30: {
        /* Seldom bytes that are a module in part: where there are handlers, loading takes its time. */
        fanfare_handler handler = FANFARE_HANDLER_INIT;
        fanfare_handler_info info = FANFARE_HANDLER_INFO_INIT;
        handler.size = any_size(self, sizeof handler);
        info.size = any_size(self, sizeof info);
        handler.topics = any_text(self);
        if (below(self, 2)) handler.file = any_text(self);
        if (below(self, 2)) handler.bytes = any_text(self);
        if (below(self, 2)) handler.name = any_text(self);
        return fanfare_load_handler(hub, below(self, 16) ? &handler : NULL, below(self, 2) ? &info : NULL, room);
    }
    case 31: return fanfare_unload_handler(hub, any_text(self), room);
    case 32: {
        fanfare_handler_info infos[2] = { FANFARE_HANDLER_INFO_INIT, FANFARE_HANDLER_INFO_INIT };
        size_t count;
        infos[0].size = any_size(self, sizeof *infos);
        return fanfare_get_handlers(hub, below(self, 16) ? infos : NULL, below(self, 3), below(self, 16) ? &count : NULL, room);
    }
    case 28: return fanfare_accept(hub, any_id(self), NULL, room);
    case 29: return fanfare_reject(hub, any_id(self), (uint32_t)below(self, 1000), any_text(self), room);
    case 26: return fanfare_revoke(hub, any_text(self), room);
    case 27: {
        /* A hub ends while others use it. */
        if (below(self, 250))
            return FANFARE_OK;
        size_t n = below(self, HUBS);
        fanfare_hub *old = atomic_exchange(&hubs[n], new_hub()), *copy = old;
        status = below(self, 2) ? fanfare_stop(old, below(self, 3), NULL, room) : FANFARE_OK;
        if (below(self, 2))
            publish(old, "a", "late");
        fanfare_free(&old);
        fanfare_free(&copy);
        CHECK(!old && !copy);
        return status;
    }
    }
}

static void *act(void *with)
{
    actor *self = with;
    for (unsigned long n = 0; n < self->calls; n++) {
        fanfare_status status = one(self);
        CHECK(status != FANFARE_ERR_PANICKED && status != FANFARE_ERR_INTERNAL && status <= FANFARE_AGAIN);
        CHECK(strcmp(fanfare_code_name(status), "unknown"));
        atomic_fetch_add(status < 0 ? &refused : &done, 1);
    }
    for (int n = 0; n < BATCHES; n++)
        fanfare_batch_free(&self->batches[n]);
    return NULL;
}

int main(void)
{
    static const uint64_t seeds[] = { 1, 42, 4711, 0xfa4fa4e, 0x5eed };
    const size_t count = sizeof seeds / sizeof *seeds;
    unsigned long calls = setting("CALLS", 100000);
    watchdog();
    for (size_t seed = 0; seed < count; seed++) {
        actor actors[THREADS];
        pthread_t threads[THREADS];
        for (int n = 0; n < HUBS; n++)
            atomic_store(&hubs[n], new_hub());
        memset(actors, 0, sizeof actors);
        for (uint64_t n = 0; n < THREADS; n++) {
            actors[n].state = seeds[seed] + (n << 32);
            actors[n].calls = calls / count / THREADS;
            CHECK(pthread_create(&threads[n], NULL, act, &actors[n]) == 0);
        }
        for (int n = 0; n < THREADS; n++)
            pthread_join(threads[n], NULL);
        for (int n = 0; n < HUBS; n++) {
            fanfare_hub *hub = atomic_load(&hubs[n]);
            fanfare_free(&hub);
        }
        for (int n = 0; n < CONFIGS; n++) {
            fanfare_config *config = atomic_exchange(&configs[n], NULL);
            fanfare_config_free(&config);
        }
    }
    /* Each wake-up that was given has been let go, once. */
    CHECK(atomic_load(&drops) == atomic_load(&sets));
    /* And the calls were not all the one or the other. */
    CHECK(atomic_load(&done) > calls / 5 && atomic_load(&refused) > calls / 20 && atomic_load(&wakes) > 0);
    printf("misuse: %lu done, %lu refused, %lu wake-ups, %lu given\n", atomic_load(&done), atomic_load(&refused),
        atomic_load(&wakes), atomic_load(&sets));
    return 0;
}
