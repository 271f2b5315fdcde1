/* What belongs to the process: fork, SIGPIPE, peers that reset their connections. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "support.h"

/* ThreadSanitizer does not know processes that fork while they have threads; and a lock of AddressSanitizer's allocator that another thread holds at
 * that moment stays locked in the child for ever, which glibc's allocator sees to. The plain build and valgrind's do this. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define FORK_AFTER_START

/* Every call of a child with its parent's things is refused; it may have a hub of its own. */
static int child(fanfare_hub *hub, fanfare_config *config, fanfare_batch *batch, uint64_t id)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_stats stats = FANFARE_STATS_INIT;
    const fanfare_item *items;
    size_t count;
    int fd;
    uint64_t other;
    fanfare_hub *own = NULL;
    STATUS(FANFARE_ERR_FORKED, publish(hub, "t", "lost"));
    STATUS(FANFARE_ERR_FORKED, fanfare_get_stats(hub, &stats, &err));
    CHECK(strstr(err.message, "fork"));
    STATUS(FANFARE_ERR_FORKED, try_subscribe(hub, "t", 0, 0, &other));
    STATUS(FANFARE_ERR_FORKED, fanfare_unsubscribe(hub, id, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_add_topic(hub, id, fanfare_text("u"), NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_remove_topic(hub, id, fanfare_text("u"), NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_close_topic(hub, fanfare_text("t"), NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_delete_history(hub, fanfare_text("t"), NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_wait(hub, FANFARE_FOREVER, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_poll_fd(hub, &fd, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_set_wakeup(hub, NULL, NULL, NULL, NULL));
    fanfare_batch *drained = NULL;
    STATUS(FANFARE_ERR_FORKED, fanfare_drain(hub, &drained, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_pull(hub, id, FANFARE_FOREVER, &drained, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_batch_items(batch, sizeof *items, &items, &count, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_config_set(config, "lag", "skip", NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_start(config, &own, NULL));
    STATUS(FANFARE_ERR_FORKED, fanfare_stop(hub, 0, NULL, NULL));
    CHECK(!strcmp(fanfare_url(hub), ""));
    fanfare_hub *same = hub;
    fanfare_free(&same);
    CHECK(same == NULL);
    fanfare_batch_free(&batch);
    fanfare_config_free(&config);
    CHECK(batch == NULL && config == NULL);

    own = start();
    /* Also now that this process has tables of its own. */
    STATUS(FANFARE_ERR_FORKED, publish(hub, "t", "lost"));
    other = subscribe(own, "t", 0, 5);
    OK(publish(own, "t", "mine"));
    CHECK(drain(own, NULL, NULL) == 1);
    /* A grandchild, while this one runs. */
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        STATUS(FANFARE_ERR_FORKED, publish(own, "t", "lost"));
        STATUS(FANFARE_ERR_FORKED, publish(hub, "t", "lost"));
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    stop_and_free(&own);
    return 0;
}

static void fork_after_start(void)
{
    fanfare_hub *hub = start();
    fanfare_config *config = new_config();
    fanfare_batch *batch = NULL;
    uint64_t id = subscribe(hub, "t", 0, 3);
    OK(publish(hub, "t", "1"));
    CHECK(fanfare_drain(hub, &batch, NULL) >= 0 && batch != NULL);
    for (int n = 0; n < 5; n++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (!pid)
            _exit(child(hub, config, batch, id));
        int status;
        /* The parent works on meanwhile. */
        OK(publish(hub, "t", "2"));
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK(drain(hub, NULL, NULL) == 5);
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && is(items[0].data, "1"));
    fanfare_batch_free(&batch);
    fanfare_config_free(&config);
    stop_and_free(&hub);
}

#endif

static void reset(int fd)
{
    struct linger at_once = { 1, 0 };
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(fd);
}

/* SIGPIPE has its default disposition, which ends the process. */
static void peers_that_reset(void)
{
    struct sigaction action;
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    fanfare_hub *hub = start();
    static const char request[] = "GET /events/t HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    for (int round = 0; round < 20; round++) {
        int clients[10];
        for (int n = 0; n < 10; n++) {
            clients[n] = connect_to(fanfare_url(hub));
            CHECK(write(clients[n], request, sizeof request - 1) == (ssize_t)sizeof request - 1);
            read_until(clients[n], "\r\n\r\n");
        }
        for (int n = 0; n < 200; n++) {
            OK(publish(hub, "t", "to whom it may concern"));
            if (n % 20 == 10)
                reset(clients[n / 20]);
        }
    }
    /* It still serves. */
    int last = connect_to(fanfare_url(hub));
    CHECK(write(last, request, sizeof request - 1) == (ssize_t)sizeof request - 1);
    read_until(last, "\r\n\r\n");
    OK(publish(hub, "t", "still here"));
    read_until(last, "data: still here\n");
    close(last);
    stop_and_free(&hub);
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
}

/* A socket of ours is handed over, and its peer goes away; a stream that we write says the same. */
static void streams_of_the_host(void)
{
    fanfare_hub *hub = start();
    int pair[2];
    uint64_t stream = 0;
    fanfare_subscribe_options wanted = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    fanfare_adopt_options how;
    fanfare_str topic = fanfare_text("t");
    wanted.topics = &topic;
    wanted.topics_len = 1;
    wanted.user = 42;
    memset(&how, 0, sizeof how);
    how.size = sizeof how;
    how.flags = FANFARE_NOTIFY_END;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    OK(fanfare_adopt(hub, pair[0], &wanted, &how, &stream, NULL));
    close(pair[0]);
    read_until(pair[1], "\r\n\r\n");
    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = topic;
    event.data = fanfare_text("hello");
    event.retry_ms = 1234;
    event.flags = FANFARE_EVENT_RETRY;
    OK(fanfare_publish(hub, &event, NULL, NULL));
    read_until(pair[1], "retry: 1234\n");
    close(pair[1]);
    for (int tries = 0; fanfare_close_stream(hub, stream, NULL) == FANFARE_OK && tries < 2; tries++)
        OK(publish(hub, "t", "x"));
    OK(fanfare_wait(hub, 60000, NULL));
    fanfare_batch *batch = NULL;
    size_t count;
    CHECK(fanfare_drain(hub, &batch, NULL) >= 0);
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && items[0].kind == FANFARE_ITEM_END && items[0].user == 42 && items[0].handle == stream);
    fanfare_batch_free(&batch);
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_close_stream(hub, stream, NULL));

    OK(fanfare_open_stream(hub, &wanted, &stream, NULL));
    OK(fanfare_wait(hub, 60000, NULL));
    CHECK(fanfare_drain(hub, &batch, NULL) >= 0);
    items = items_of(batch, &count);
    CHECK(count == 1 && items[0].kind == FANFARE_ITEM_READY && items[0].handle == stream);
    fanfare_batch_free(&batch);
    OK(fanfare_publish(hub, &event, NULL, NULL));
    char text[4096];
    size_t len = 0;
    while (len < 12 || !memmem(text, len, "data: hello\n", 12)) {
        CHECK(fanfare_pull(hub, stream, FANFARE_FOREVER, &batch, NULL) >= 0);
        items = items_of(batch, &count);
        for (size_t n = 0; n < count; n++) {
            CHECK(items[n].kind == FANFARE_ITEM_BYTES && len + items[n].data.len < sizeof text);
            memcpy(text + len, items[n].data.ptr, items[n].data.len);
            len += items[n].data.len;
        }
        fanfare_batch_free(&batch);
    }
    OK(fanfare_close_stream(hub, stream, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_pull(hub, stream, 0, &batch, NULL));
    /* What cannot be adopted stays the caller's. */
    int plain = open_descriptors() > 0 ? dup(2) : -1;
    fanfare_error err = FANFARE_ERROR_INIT;
    STATUS(FANFARE_ERR_UNSUPPORTED, fanfare_adopt(hub, -1, &wanted, NULL, NULL, &err));
    CHECK(*err.message);
    int ends[2];
    CHECK(pipe(ends) == 0);
    STATUS(FANFARE_ERR_UNSUPPORTED, fanfare_adopt(hub, ends[1], &wanted, NULL, NULL, &err));
    CHECK(write(ends[1], "x", 1) == 1);
    close(ends[0]);
    close(ends[1]);
    close(plain);
    stop_and_free(&hub);
}

int main(void)
{
    watchdog();
    signal(SIGPIPE, SIG_DFL);
#ifdef FORK_AFTER_START
    fork_after_start();
#endif
    peers_that_reset();
    streams_of_the_host();
    puts("process: ok");
    return 0;
}
