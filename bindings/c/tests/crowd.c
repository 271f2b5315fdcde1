/* CROWD in-process subscribers get EVENTS events each, in order, none missing and none twice. */

#include "support.h"

static unsigned long *last;
static unsigned long received;

static void see(const fanfare_item *item, void *with)
{
    (void)with;
    CHECK(item->kind == FANFARE_ITEM_EVENT);
    CHECK(number(item) == ++last[item->user]);
    received++;
}

int main(void)
{
    watchdog();
    unsigned long crowd = setting("CROWD", 1000), events = setting("EVENTS", 200);
    fanfare_hub *hub = start_with("history.events", "4096");
    last = calloc(crowd, sizeof *last);
    CHECK(last != NULL);
    for (unsigned long n = 0; n < crowd; n++)
        subscribe(hub, "t", 0, n);
    for (unsigned long n = 1; n <= events; n++) {
        char text[24];
        snprintf(text, sizeof text, "%lu", n);
        OK(publish(hub, "t", text));
        if (n % 2048 == 0 || n == events)
            drain(hub, see, NULL);
    }
    for (unsigned long n = 0; n < crowd; n++)
        CHECK(last[n] == events);
    CHECK(received == crowd * events);
    fanfare_stats stats = FANFARE_STATS_INIT;
    OK(fanfare_get_stats(hub, &stats, NULL));
    CHECK(stats.published == events && stats.subscriptions == crowd && stats.gaps == 0 && stats.lapped == 0);
    stop_and_free(&hub);
    free(last);
    printf("%lu subscribers x %lu events\n", crowd, events);
    return 0;
}
