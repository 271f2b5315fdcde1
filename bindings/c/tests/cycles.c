/* A hundred hubs one after the other leave nothing behind: no descriptor, no thread, no memory, no changed signal. */

#include <malloc.h>
#include <signal.h>

#include "support.h"

static void handler(int signal)
{
    (void)signal;
}

static void set_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/* Every disposition and the mask of this thread, as one text. */
static void signals(char *text, size_t room)
{
    sigset_t mask;
    size_t at = 0;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number <= 64; number++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        if (sigaction(number, NULL, &action))
            continue;
        at += (size_t)snprintf(text + at, room - at, "%d %p %x %d\n", number, (void *)(uintptr_t)action.sa_handler,
            (unsigned)action.sa_flags, sigismember(&mask, number));
        CHECK(at < room);
    }
}

/* Threads of the library block every signal that can be blocked, so that the host's handlers run on its own threads. */
static void check_threads_block(void)
{
    /* Under valgrind the kernel's masks are valgrind's own, and change around system calls. */
    if (getenv("VALGRIND"))
        return;
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[64], line[256];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        while (fgets(line, sizeof line, file)) {
            unsigned long long blocked;
            if (sscanf(line, "SigBlk: %llx", &blocked) != 1)
                continue;
            /* Of those before the real-time ones all but SIGKILL and SIGSTOP. */
            const unsigned long long all = 0x7fffffffULL & ~(1ULL << (SIGKILL - 1)) & ~(1ULL << (SIGSTOP - 1));
            if ((blocked & all) != all) {
                fprintf(stderr, "thread %s blocks %llx only\n", entry->d_name, blocked);
                abort();
            }
        }
        fclose(file);
    }
    closedir(dir);
}

static void cycle(void)
{
    fanfare_hub *hub = start();
    int fd = -1;
    OK(fanfare_poll_fd(hub, &fd, NULL));
    CHECK(fd >= 0);
    for (uint64_t n = 0; n < 10; n++)
        subscribe(hub, "t", n % 2 ? FANFARE_ON_DEMAND : 0, n);
    for (int n = 0; n < 100; n++)
        OK(publish(hub, "t", "x"));
    fanfare_batch *batch = NULL;
    fanfare_status status = fanfare_drain(hub, &batch, NULL);
    CHECK(status >= 0 && batch != NULL);
    /* A batch outlives its hub. */
    stop_and_free(&hub);
    size_t count;
    const fanfare_item *items = items_of(batch, &count);
    CHECK(count >= 500);
    for (size_t n = 0; n < count; n++)
        CHECK(items[n].kind == FANFARE_ITEM_READY || is(items[n].data, "x"));
    fanfare_batch_free(&batch);
}

/* Bytes in use, as the allocator counts them; 0 where a sanitiser counts instead. */
static size_t memory_used(void)
{
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    return getenv("VALGRIND") ? 0 : mallinfo2().uordblks;
#else
    return 0;
#endif
}

int main(void)
{
    static char before[16384], after[16384];
    watchdog();
    unsigned long cycles = setting("CYCLES", 100);
    set_signals();
    signals(before, sizeof before);
    /* What is made once and kept; the allocator keeps a little for each size that it has seen, and counts that as used. */
    for (unsigned long n = 0; n < cycles; n++)
        cycle();
    size_t fds = open_descriptors(), threads = running_threads(), memory = memory_used();
    for (unsigned long n = 0; n < cycles; n++)
        cycle();
    settle(open_descriptors, fds, "descriptors");
    settle(running_threads, threads, "threads");
    /* Less than 3 KiB for each of a hundred, where a hub is tens; LeakSanitizer knows to the byte. */
    CHECK(memory_used() <= memory + 256 * 1024);
    fanfare_hub *hub = start();
    check_threads_block();
    stop_and_free(&hub);
    signals(after, sizeof after);
    CHECK(!strcmp(before, after));
    printf("%lu hubs: %zu descriptors, %zu threads, %zu bytes as before\n", cycles, fds, threads, memory);
    return 0;
}
