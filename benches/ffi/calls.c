/* What a call into libfanfare costs from C: nanoseconds, best and median of several rounds.
 *
 *     cc -O2 -I include benches/ffi/calls.c target/release/libfanfare.a -lpthread -lm -ldl -o target/c-calls && target/c-calls
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <fanfare.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 9, CALLS = 200000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(fanfare_status status, const fanfare_error *err)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", fanfare_code_name(status), err->message);
        exit(1);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *per_call)
{
    qsort(per_call, ROUNDS, sizeof *per_call, by_value);
    printf("%-48s %8.0f ns (best %.0f)\n", what, per_call[ROUNDS / 2], per_call[0]);
}

static void publish(fanfare_hub *hub, const char *topic, int with_id, const char *what)
{
    char data[101];
    memset(data, 'x', 100);
    data[100] = 0;
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_published done = FANFARE_PUBLISHED_INIT;
    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = fanfare_text(topic);
    event.data = fanfare_text(data);
    double per_call[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (int n = 0; n < CALLS; n++)
            check(fanfare_publish(hub, &event, with_id ? &done : NULL, &err), &err);
        per_call[round] = (now() - start) / CALLS;
    }
    report(what, per_call);
}

/* A hundred at a time, for one event. */
static void publish_batch(fanfare_hub *hub, int with_id, const char *what)
{
    enum { BATCH = 100 };
    static const char data[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                               "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_event events[BATCH];
    fanfare_published done[BATCH];
    double per_call[ROUNDS];
    for (int n = 0; n < BATCH; n++) {
        events[n] = (fanfare_event)FANFARE_EVENT_INIT;
        events[n].topic = fanfare_text("bench");
        events[n].data = fanfare_text(data);
        done[n] = (fanfare_published)FANFARE_PUBLISHED_INIT;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (int n = 0; n < CALLS / BATCH; n++)
            check(fanfare_publish_batch(hub, events, BATCH, with_id ? done : NULL, NULL, &err), &err);
        per_call[round] = (now() - start) / CALLS;
    }
    report(what, per_call);
}

/* Publish and drain by turns, a hundred events each. */
static void round_trip(fanfare_hub *hub)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_str topic = fanfare_text("read");
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    options.topics = &topic;
    options.topics_len = 1;
    uint64_t id;
    check(fanfare_subscribe(hub, &options, &id, &err), &err);
    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = topic;
    event.data = fanfare_text("hello");
    double per_call[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        size_t seen = 0;
        for (int n = 0; n < CALLS / 100; n++) {
            for (int k = 0; k < 100; k++)
                check(fanfare_publish(hub, &event, NULL, &err), &err);
            fanfare_status status = FANFARE_OK;
            while (status == FANFARE_OK) {
                fanfare_batch *batch;
                status = fanfare_drain(hub, &batch, &err);
                check(status, &err);
                const fanfare_item *items;
                size_t count = 0;
                if (batch)
                    check(fanfare_batch_items(batch, sizeof *items, &items, &count, &err), &err);
                seen += count;
                fanfare_batch_free(&batch);
            }
        }
        if (seen != CALLS) {
            fprintf(stderr, "%zu of %d events\n", seen, CALLS);
            exit(1);
        }
        per_call[round] = (now() - start) / CALLS;
    }
    report("publish and drain, one reader, 100 at a time", per_call);
    check(fanfare_unsubscribe(hub, id, &err), &err);
}

/* Asks the hub's listener once; the time at which its answer begins. */
static double first_answer(const char *url)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char answer[64] = { 0 };
    address.sin_port = htons((unsigned short)atoi(strrchr(url, ':') + 1));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address)
        || write(client, request, sizeof request - 1) != (ssize_t)sizeof request - 1
        || read(client, answer, sizeof answer - 1) <= 0 || strncmp(answer, "HTTP/1.1 200", 12)) {
        fprintf(stderr, "the first request is not answered: %s\n", answer);
        exit(1);
    }
    double at = now();
    close(client);
    return at;
}

static void starts(fanfare_config *config)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    double per_call[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        fanfare_hub *hub;
        double start = now();
        check(fanfare_start(config, &hub, &err), &err);
        per_call[round] = now() - start;
        fanfare_free(&hub);
    }
    report("start", per_call);
}

int main(void)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_config *config;
    fanfare_hub *hub;
    check(fanfare_config_new(FANFARE_ABI_VERSION, &config, &err), &err);
    check(fanfare_config_set(config, "listen", "127.0.0.1:0", &err), &err);
    double begin = now();
    check(fanfare_start(config, &hub, &err), &err);
    double started = now(), answered = first_answer(fanfare_url(hub));
    printf("%-48s %8.0f ns\n", "start, the first in this process", started - begin);
    printf("%-48s %8.0f ns\n", "start to the first answered request", answered - begin);
    publish(hub, "plain", 0, "publish, 100 bytes, no reader");
    publish(hub, "plain", 1, "publish, 100 bytes, no reader, with its id");
    publish_batch(hub, 0, "publish_batch of 100, for one event");
    publish_batch(hub, 1, "publish_batch of 100, for one event with its id");
    round_trip(hub);
    fanfare_free(&hub);
    starts(config);
    fanfare_config_free(&config);
    return 0;
}
