/* What the C tests share: checks that name their place, a watchdog, and the calls that every test makes. */

#ifndef SUPPORT_H
#define SUPPORT_H

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fanfare.h"

/* Ends the test, which has failed, and says where. */
#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);       \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* A call whose status has to be `wanted`. */
#define STATUS(wanted, call)                                                              \
    do {                                                                                  \
        fanfare_status got_ = (call);                                                     \
        if (got_ != (wanted)) {                                                           \
            fprintf(stderr, "%s:%d: %s gives %s (%d), not %s\n", __FILE__, __LINE__, #call, \
                fanfare_code_name(got_), (int)got_, fanfare_code_name(wanted));           \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

#define OK(call) STATUS(FANFARE_OK, call)

/* Kills a test that hangs; far above what any takes. */
static inline void watchdog(void)
{
    alarm(900);
}

/* A number from the environment. */
static inline unsigned long setting(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

static inline fanfare_config *new_config(void)
{
    fanfare_config *config = NULL;
    OK(fanfare_config_new(FANFARE_ABI_VERSION, &config, NULL));
    OK(fanfare_config_set(config, "listen", "127.0.0.1:0", NULL));
    OK(fanfare_config_set(config, "log", "error", NULL));
    OK(fanfare_config_set(config, "lanes", "1", NULL));
    return config;
}

/* A hub on a free port; `key` and `value` are one option more, or NULL. */
static inline fanfare_hub *start_with(const char *key, const char *value)
{
    fanfare_config *config = new_config();
    fanfare_hub *hub = NULL;
    fanfare_error err = FANFARE_ERROR_INIT;
    if (key)
        OK(fanfare_config_set(config, key, value, NULL));
    if (fanfare_start(config, &hub, &err)) {
        fprintf(stderr, "start: %s\n", err.message);
        abort();
    }
    fanfare_config_free(&config);
    CHECK(config == NULL);
    return hub;
}

static inline fanfare_hub *start(void)
{
    return start_with(NULL, NULL);
}

static inline fanfare_status publish(fanfare_hub *hub, const char *topic, const char *data)
{
    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = fanfare_text(topic);
    event.data = fanfare_text(data);
    return fanfare_publish(hub, &event, NULL, NULL);
}

static inline fanfare_status try_subscribe(fanfare_hub *hub, const char *topic, uint32_t flags, uint64_t user, uint64_t *id)
{
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    fanfare_str name = fanfare_text(topic);
    options.topics = &name;
    options.topics_len = 1;
    options.flags = flags;
    options.user = user;
    return fanfare_subscribe(hub, &options, id, NULL);
}

static inline uint64_t subscribe(fanfare_hub *hub, const char *topic, uint32_t flags, uint64_t user)
{
    uint64_t id = 0;
    OK(try_subscribe(hub, topic, flags, user, &id));
    CHECK(id != 0);
    return id;
}

static inline bool is(fanfare_str text, const char *wanted)
{
    return text.ptr && text.len == strlen(wanted) && !memcmp(text.ptr, wanted, text.len);
}

/* The number that an event's data is. */
static inline unsigned long number(const fanfare_item *item)
{
    unsigned long value = 0;
    for (size_t n = 0; n < item->data.len; n++) {
        CHECK(item->data.ptr[n] >= '0' && item->data.ptr[n] <= '9');
        value = value * 10 + (unsigned long)(item->data.ptr[n] - '0');
    }
    return value;
}

/* The items of a batch, which may be NULL. */
static inline const fanfare_item *items_of(const fanfare_batch *batch, size_t *count)
{
    const fanfare_item *items = NULL;
    *count = 0;
    if (batch)
        OK(fanfare_batch_items(batch, sizeof(fanfare_item), &items, count, NULL));
    return items;
}

/* Drains until there is nothing; `see` may be NULL. Gives the number of items. */
static inline size_t drain(fanfare_hub *hub, void (*see)(const fanfare_item *item, void *with), void *with)
{
    size_t all = 0;
    fanfare_status status = FANFARE_OK;
    while (status == FANFARE_OK) {
        fanfare_batch *batch = NULL;
        size_t count;
        status = fanfare_drain(hub, &batch, NULL);
        CHECK(status == FANFARE_OK || status == FANFARE_AGAIN);
        const fanfare_item *items = items_of(batch, &count);
        for (size_t n = 0; n < count && see; n++)
            see(&items[n], with);
        all += count;
        fanfare_batch_free(&batch);
        CHECK(batch == NULL);
    }
    return all;
}

static inline void stop_and_free(fanfare_hub **hub)
{
    OK(fanfare_stop(*hub, 0, NULL, NULL));
    fanfare_free(hub);
    CHECK(*hub == NULL);
}

static inline size_t entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* Descriptors and threads of this process. */
static inline size_t open_descriptors(void)
{
    return entries("/proc/self/fd");
}

static inline size_t running_threads(void)
{
    return entries("/proc/self/task");
}

static inline void pause_ms(long ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

/* Waits until the count is back: the system takes an ended thread off its list a little after it has been joined. */
static inline void settle(size_t (*count)(void), size_t wanted, const char *what)
{
    for (int tries = 0; count() != wanted; tries++) {
        if (tries == 3000) {
            fprintf(stderr, "%s: %zu, not %zu\n", what, count(), wanted);
            abort();
        }
        pause_ms(10);
    }
}

/* A connection to a hub of this machine; -1 if nobody listens there. */
static inline int try_connect(const char *url)
{
    const char *port = strrchr(url, ':');
    CHECK(port != NULL);
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(port + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    CHECK(errno == ECONNREFUSED);
    close(fd);
    return -1;
}

static inline int connect_to(const char *url)
{
    int fd = try_connect(url);
    CHECK(fd >= 0);
    return fd;
}

/* Whether anybody can connect to the hub. */
static inline bool listens(const fanfare_hub *hub)
{
    int fd = try_connect(fanfare_url(hub));
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Reads until `wanted` stands in what came. */
static inline void read_until(int fd, const char *wanted)
{
    char text[8192];
    size_t len = 0;
    while (len < sizeof text - 1) {
        ssize_t more = read(fd, text + len, sizeof text - 1 - len);
        if (more <= 0) {
            fprintf(stderr, "instead of %s came: %.*s\n", wanted, (int)len, text);
            abort();
        }
        len += (size_t)more;
        text[len] = 0;
        if (strstr(text, wanted))
            return;
    }
    CHECK(!"it fits");
}

#endif
