/* A host with a poll loop of its own: one descriptor for all of the hub, beside the host's. Here the host's is standard input, each
 * line of which is published to the topic "lines"; a reader inside the process counts what comes. Ends with its input. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fanfare.h"

static fanfare_hub *hub;

/* Takes what the hub has. The descriptor stays readable until a drain has said FANFARE_AGAIN. */
static void take(unsigned long *lines)
{
    fanfare_batch *batch = NULL;
    const fanfare_item *items;
    size_t count = 0;
    if (fanfare_drain(hub, &batch, NULL) < 0 || !batch)
        return;
    fanfare_batch_items(batch, sizeof *items, &items, &count, NULL);
    for (size_t n = 0; n < count; n++) {
        if (items[n].kind == FANFARE_ITEM_EVENT)
            printf("%lu: %.*s\n", ++*lines, (int)items[n].data.len, items[n].data.ptr);
        else if (items[n].kind == FANFARE_ITEM_GAP)
            printf("some are missing: %.*s\n", (int)items[n].data.len, items[n].data.ptr);
    }
    fanfare_batch_free(&batch);
}

/* Publishes each whole line of what was read. */
static size_t publish_lines(char *text, size_t len)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    char *line = text, *end;
    while ((end = memchr(line, '\n', len - (size_t)(line - text)))) {
        fanfare_event event = FANFARE_EVENT_INIT;
        event.topic = fanfare_text("lines");
        event.data.ptr = line;
        event.data.len = (size_t)(end - line);
        if (fanfare_publish(hub, &event, NULL, &err) != FANFARE_OK)
            fprintf(stderr, "not published: %s\n", err.message);
        line = end + 1;
    }
    len -= (size_t)(line - text);
    memmove(text, line, len);
    return len;
}

int main(void)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_config *config = NULL;
    fanfare_str topic = fanfare_text("lines");
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    uint64_t reader;
    int fd;
    options.topics = &topic;
    options.topics_len = 1;
    if (fanfare_config_new(FANFARE_ABI_VERSION, &config, &err) || fanfare_config_set(config, "listen", "127.0.0.1:0", &err)
        || fanfare_start(config, &hub, &err) || fanfare_poll_fd(hub, &fd, &err)
        || fanfare_subscribe(hub, &options, &reader, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    fanfare_config_free(&config);

    char text[4096];
    size_t len = 0;
    unsigned long lines = 0;
    struct pollfd polled[2] = { { STDIN_FILENO, POLLIN, 0 }, { fd, POLLIN, 0 } };
    while (polled[0].fd >= 0 || poll(&polled[1], 1, 0) == 1) {
        if (poll(polled, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (polled[1].revents)
            take(&lines);
        if (polled[0].revents) {
            ssize_t more = read(STDIN_FILENO, text + len, sizeof text - len);
            if (more <= 0)
                polled[0].fd = -1;
            else
                len = publish_lines(text, len + (size_t)more);
            if (len == sizeof text)
                len = 0; /* No line is that long. */
        }
    }
    fanfare_stop(hub, FANFARE_STOP_DEFAULT, NULL, NULL);
    fanfare_free(&hub);
    return 0;
}
