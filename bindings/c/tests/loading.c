/* The shared library is loaded and let go twice, with a hub that ran each time. Its path is the argument. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fanfare.h"

/* ISO C has no conversion from an object's address to a function's. */
static void find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    if (!symbol) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    memcpy(function, &symbol, sizeof symbol);
}

static fanfare_status (*config_new)(uint32_t, fanfare_config **, fanfare_error *);
static fanfare_status (*config_set)(fanfare_config *, const char *, const char *, fanfare_error *);
static void (*config_free)(fanfare_config **);
static fanfare_status (*hub_start)(const fanfare_config *, fanfare_hub **, fanfare_error *);
static fanfare_status (*hub_stop)(fanfare_hub *, uint64_t, fanfare_stop_report *, fanfare_error *);
static void (*hub_free)(fanfare_hub **);
static fanfare_status (*hub_publish)(fanfare_hub *, const fanfare_event *, fanfare_published *, fanfare_error *);

int main(int argc, char **argv)
{
    for (int round = 0; argc == 2 && round < 2; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
        find(library, "fanfare_config_new", &config_new);
        find(library, "fanfare_config_set", &config_set);
        find(library, "fanfare_config_free", &config_free);
        find(library, "fanfare_start", &hub_start);
        find(library, "fanfare_stop", &hub_stop);
        find(library, "fanfare_free", &hub_free);
        find(library, "fanfare_publish", &hub_publish);
        fanfare_config *config = NULL;
        fanfare_hub *hub = NULL;
        fanfare_event event = FANFARE_EVENT_INIT;
        event.topic = fanfare_text("t");
        event.data = fanfare_text("x");
        if (config_new(FANFARE_ABI_VERSION, &config, NULL) || config_set(config, "listen", "127.0.0.1:0", NULL)
            || hub_start(config, &hub, NULL) || hub_publish(hub, &event, NULL, NULL) || hub_stop(hub, 0, NULL, NULL))
            return 1;
        config_free(&config);
        /* The second time the hub is left to its handle. */
        if (!round)
            hub_free(&hub);
        if (dlclose(library))
            return 1;
    }
    return argc == 2 ? 0 : 2;
}
