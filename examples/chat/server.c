/* The chat in C: a small web server of its own, a thread per request, and libfanfare for the streams. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fanfare.h>

#define MAX_HEAD 8192
#define MAX_BODY 10000

static fanfare_hub *hub;
static sem_t room; /* How many requests are read at a time. */

static void answer(int fd, const char *status, const char *type, const char *body, size_t len)
{
    char head[256];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                     status, type, len);
    if (send(fd, head, (size_t)n, 0) != n)
        return;
    for (ssize_t sent; len && (sent = send(fd, body, len, 0)) > 0; len -= (size_t)sent)
        body += sent;
}

static void answer_file(int fd, const char *type, const char *path)
{
    char body[65536];
    FILE *file = fopen(path, "rb");
    size_t len = file ? fread(body, 1, sizeof body, file) : 0;
    if (file)
        fclose(file);
    answer(fd, file ? "200 OK" : "404 Not Found", type, body, len);
}

/* The value of a header in a head that ends in an empty line. */
static fanfare_str header(const char *head, const char *name)
{
    fanfare_str none = { NULL, 0 };
    const char *at = strcasestr(head, name);
    if (!at)
        return none;
    at += strlen(name);
    at += strspn(at, " \t");
    fanfare_str value = { at, strcspn(at, "\r\n") };
    return value;
}

/* True when the stream is the hub's: our copy of the socket is then closed without a shutdown. */
static int stream(int fd, const char *head)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_str topic = fanfare_text("chat");
    fanfare_subscribe_options options = FANFARE_SUBSCRIBE_OPTIONS_INIT;
    options.topics = &topic;
    options.topics_len = 1;
    options.replay = 50;
    options.last_event_id = header(head, "\nLast-Event-ID:");
    if (fanfare_adopt(hub, fd, &options, NULL, NULL, &err) == FANFARE_OK)
        return 1;
    answer(fd, "400 Bad Request", "text/plain", err.message, strlen(err.message));
    return 0;
}

static void publish(int fd, const char *data, size_t len)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_event event = FANFARE_EVENT_INIT;
    event.topic = fanfare_text("chat");
    event.event = fanfare_text("chat");
    event.data.ptr = data;
    event.data.len = len;
    if (fanfare_publish(hub, &event, NULL, &err) == FANFARE_OK)
        answer(fd, "204 No Content", "text/plain", "", 0);
    else
        answer(fd, "400 Bad Request", "text/plain", err.message, strlen(err.message));
}

static void serve(int fd)
{
    char text[MAX_HEAD + MAX_BODY + 1];
    size_t len = 0, body = 0, want = 0;
    while (!body || len < body + want) {
        ssize_t more = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (more <= 0)
            return;
        text[len += (size_t)more] = 0;
        char *end = body ? NULL : strstr(text, "\r\n\r\n");
        if (end) {
            end[2] = 0; /* What follows is the body's. */
            body = (size_t)(end - text) + 4;
            fanfare_str length = header(text, "\nContent-Length:");
            if (!length.ptr && !strncmp(text, "POST", 4)) {
                answer(fd, "411 Length Required", "text/plain", "how long?\n", 10);
                return;
            }
            want = length.ptr ? strtoul(length.ptr, NULL, 10) : 0;
        }
        if (want > MAX_BODY || (!body && len >= MAX_HEAD)) {
            answer(fd, "413 Content Too Large", "text/plain", "too long\n", 9);
            return;
        }
    }
    if (!strncmp(text, "GET /chat ", 10) || !strncmp(text, "GET /chat?", 10)) {
        if (stream(fd, text))
            return;
    } else if (!strncmp(text, "POST /chat ", 11)) {
        publish(fd, text + body, want);
    } else if (!strncmp(text, "GET / ", 6)) {
        answer_file(fd, "text/html", "index.html");
    } else if (!strncmp(text, "GET /style.css ", 15)) {
        answer_file(fd, "text/css", "../shared/style.css");
    } else {
        answer(fd, "404 Not Found", "text/plain", "not found\n", 10);
    }
    shutdown(fd, SHUT_WR);
}

static void *request(void *arg)
{
    int fd = (int)(long)arg;
    serve(fd);
    close(fd);
    sem_post(&room);
    return NULL;
}

int main(void)
{
    fanfare_error err = FANFARE_ERROR_INIT;
    fanfare_config *config = NULL;
    if (fanfare_config_new(FANFARE_ABI_VERSION, &config, &err) || fanfare_config_set(config, "listen", "127.0.0.1:0", &err)
        || fanfare_config_set(config, "retry", "1s", &err) || fanfare_start(config, &hub, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    fanfare_config_free(&config);
    signal(SIGPIPE, SIG_IGN);
    sem_init(&room, 0, 64);

    const char *port = getenv("PORT");
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port ? port : "3000")),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    int door = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(door, (struct sockaddr *)&at, size) || listen(door, 64) || getsockname(door, (struct sockaddr *)&at, &size)) {
        perror("listen");
        return 1;
    }
    printf("http://127.0.0.1:%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        sem_wait(&room);
        int fd = accept(door, NULL, NULL);
        struct timeval patience = { .tv_sec = 10 };
        pthread_t thread;
        if (fd >= 0) {
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        }
        if (fd < 0 || pthread_create(&thread, NULL, request, (void *)(long)fd)) {
            close(fd);
            sem_post(&room);
        } else {
            pthread_detach(thread);
        }
    }
}
