/* Requests to the hub's own listener, as clients send them over real sockets, decided by this host: let in, refused, too late. */

#include <poll.h>

#include "support.h"

static fanfare_hub *hub;

static int ask(const char *method, const char *target, const char *headers, const char *body)
{
    char text[2048];
    int fd = connect_to(fanfare_url(hub));
    int len = snprintf(text, sizeof text,
        "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s", method, target,
        strlen(body), headers, body);
    CHECK(len > 0 && (size_t)len < sizeof text && write(fd, text, (size_t)len) == len);
    return fd;
}

/* The next request in the queue, by a host with a loop of its own. `batch` keeps its texts. */
static const fanfare_request *next_request(fanfare_batch **batch, uint64_t *id)
{
    int queue = -1;
    OK(fanfare_poll_fd(hub, &queue, NULL));
    for (;;) {
        struct pollfd waits = { queue, POLLIN, 0 };
        CHECK(poll(&waits, 1, 60000) == 1);
        fanfare_status status = fanfare_drain(hub, batch, NULL);
        CHECK(status == FANFARE_OK || status == FANFARE_AGAIN);
        size_t count;
        const fanfare_item *items = items_of(*batch, &count);
        /* The end of an earlier stream, or news for a reader, may come with it; another request may not. */
        const fanfare_item *found = NULL;
        for (size_t n = 0; n < count; n++) {
            if (items[n].kind != FANFARE_ITEM_REQUEST)
                continue;
            CHECK(!found);
            found = &items[n];
        }
        if (found) {
            *id = found->handle;
            CHECK(*id && found->request && found->request->size >= sizeof *found->request);
            return found->request;
        }
        fanfare_batch_free(batch);
    }
}

/* Whether a header is among those of a request. */
static bool has(const fanfare_request *request, const char *name, const char *value)
{
    for (size_t n = 0; n < request->headers_len; n++)
        if (is(request->headers[n].name, name) && is(request->headers[n].value, value))
            return true;
    return false;
}

/* A reader that is let in under a name: it gets what it may see, and is revoked by that name. */
static void let_in(void)
{
    fanfare_batch *batch = NULL;
    uint64_t id;
    int client = ask("GET", "/events/room?client=mallory", "Accept: text/event-stream\r\nX-Token: t0ken\r\n", "");
    const fanfare_request *request = next_request(&batch, &id);
    CHECK(request->action == FANFARE_ACTION_SUBSCRIBE && is(request->method, "GET") && is(request->path, "/events/room"));
    CHECK(is(request->query, "client=mallory") && is(request->client, "mallory") && is(request->address, "127.0.0.1"));
    CHECK(request->topics_len == 1 && is(request->topics[0], "room") && has(request, "x-token", "t0ken"));
    CHECK(!request->last_event_id.ptr);
    fanfare_batch_free(&batch);
    fanfare_grant grant;
    memset(&grant, 0, sizeof grant);
    grant.size = sizeof grant;
    grant.client = fanfare_text("a\nb");
    STATUS(FANFARE_ERR_INVALID_CLIENT, fanfare_accept(hub, id, &grant, NULL));
    grant.client = fanfare_text("alice");
    OK(fanfare_accept(hub, id, &grant, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_accept(hub, id, &grant, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_reject(hub, id, 403, fanfare_text("no"), NULL));
    read_until(client, "HTTP/1.1 200");
    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = fanfare_text("room");
    event.data = fanfare_text("from alice");
    event.except = fanfare_text("alice");
    OK(fanfare_publish(hub, &event, NULL, NULL));
    event.data = fanfare_text("from mallory");
    event.except = fanfare_text("mallory");
    OK(fanfare_publish(hub, &event, NULL, NULL));
    /* It is alice now: her own event is left out, that of the name it gave itself is not. */
    char text[4096];
    size_t len = 0;
    while (len < sizeof text - 1) {
        ssize_t more = read(client, text + len, sizeof text - 1 - len);
        CHECK(more > 0);
        len += (size_t)more;
        text[len] = 0;
        if (strstr(text, "data: from mallory\n"))
            break;
    }
    CHECK(!strstr(text, "from alice"));
    OK(fanfare_revoke(hub, fanfare_text("alice"), NULL));
    while (read(client, text, sizeof text) > 0)
        ;
    close(client);
}

/* One that publishes over HTTP, let in as nobody in particular. */
static void publishes(void)
{
    fanfare_batch *batch = NULL;
    uint64_t id, reader = subscribe(hub, "wire", FANFARE_ON_DEMAND, 0);
    int client = ask("POST", "/events/wire", "Content-Type: text/plain\r\n", "by wire");
    const fanfare_request *request = next_request(&batch, &id);
    CHECK(request->action == FANFARE_ACTION_PUBLISH && is(request->method, "POST") && is(request->topics[0], "wire"));
    fanfare_batch_free(&batch);
    STATUS(FANFARE_AGAIN, fanfare_pull(hub, reader, 0, &batch, NULL));
    OK(fanfare_accept(hub, id, NULL, NULL));
    read_until(client, "HTTP/1.1 2");
    fanfare_status status = fanfare_pull(hub, reader, 60000, &batch, NULL);
    CHECK(status == FANFARE_OK || status == FANFARE_AGAIN);
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count == 1 && is(items[0].data, "by wire"));
    fanfare_batch_free(&batch);
    close(client);
    OK(fanfare_unsubscribe(hub, reader, NULL));
}

static void refused(void)
{
    fanfare_batch *batch = NULL;
    uint64_t id;
    int client = ask("GET", "/events/secret", "Accept: text/event-stream\r\nLast-Event-ID: own-7\r\n", "");
    const fanfare_request *request = next_request(&batch, &id);
    CHECK(is(request->last_event_id, "own-7") && !request->client.ptr);
    fanfare_batch_free(&batch);
    STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_reject(hub, id, 200, fanfare_text("no"), NULL));
    STATUS(FANFARE_ERR_INVALID_PARAMETER, fanfare_reject(hub, id, 600, fanfare_text("no"), NULL));
    OK(fanfare_reject(hub, id, 402, fanfare_text("this room has a price"), NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_reject(hub, id, 402, fanfare_text("again"), NULL));
    char text[4096];
    size_t len = 0;
    for (ssize_t more; (more = read(client, text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)more;
    text[len] = 0;
    CHECK(strstr(text, "HTTP/1.1 402") && strstr(text, "this room has a price"));
    close(client);
}

/* Nobody decides: the hub answers by itself, and the decision comes too late. */
static void too_late(void)
{
    fanfare_batch *batch = NULL;
    uint64_t id;
    int client = ask("POST", "/events/room", "Content-Type: text/plain\r\n", "late");
    next_request(&batch, &id);
    fanfare_batch_free(&batch);
    read_until(client, "HTTP/1.1 503");
    STATUS(FANFARE_AGAIN, fanfare_accept(hub, id, NULL, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_reject(hub, id, 403, fanfare_text("no"), NULL));
    close(client);
}

/* The host stops before it has decided. */
static void stopped(void)
{
    fanfare_batch *batch = NULL;
    uint64_t id;
    int client = ask("POST", "/events/room", "Content-Type: text/plain\r\n", "late");
    next_request(&batch, &id);
    fanfare_batch_free(&batch);
    OK(fanfare_stop(hub, 0, NULL, NULL));
    STATUS(FANFARE_ERR_STALE_HANDLE, fanfare_accept(hub, id, NULL, NULL));
    char text[4096];
    size_t len = 0;
    for (ssize_t more; (more = read(client, text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)more;
    text[len] = 0;
    CHECK(!strstr(text, "HTTP/1.1 200"));
    close(client);
}

int main(void)
{
    fanfare_config *config = new_config();
    watchdog();
    OK(fanfare_config_authorize(config, FANFARE_ACTION_SUBSCRIBE | FANFARE_ACTION_PUBLISH, NULL));
    OK(fanfare_config_set(config, "timeouts.authorize", "3s", NULL));
    OK(fanfare_start(config, &hub, NULL));
    fanfare_config_free(&config);
    let_in();
    publishes();
    refused();
    too_late();
    stopped();
    fanfare_free(&hub);
    puts("requests: ok");
    return 0;
}
