// CROWD readers in this process get EVENTS events each, in order; CYCLES hubs, with everything in use, leave nothing behind.

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <thread>
#include <vector>

#include "fanfare.hpp"

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            std::cerr << __FILE__ << ":" << __LINE__ << ": failed: " << #condition << "\n";   \
            std::abort();                                                                     \
        }                                                                                     \
    } while (0)

static unsigned long setting(const char *name, unsigned long otherwise)
{
    const char *text = std::getenv(name);
    return text ? std::strtoul(text, nullptr, 10) : otherwise;
}

static fanfare::Config config(unsigned long history)
{
    return fanfare::Config().set("listen", "127.0.0.1:0").set("log", "error").set("lanes", "1").set(
        "history.events", std::to_string(history));
}

static void crowd(unsigned long readers, unsigned long events)
{
    fanfare::Hub hub(config(4096));
    std::vector<unsigned long> last(readers, 0);
    for (unsigned long n = 0; n < readers; n++) {
        fanfare::SubscribeOptions options;
        options.user = n;
        hub.subscribe_queued({"t"}, options);
    }
    unsigned long received = 0;
    for (unsigned long n = 1; n <= events; n++) {
        hub.publish("t", std::to_string(n));
        if (n % 2048 != 0 && n != events)
            continue;
        for (fanfare::Batch batch = hub.drain(); !batch.empty(); batch = hub.drain()) {
            for (std::size_t at = 0; at < batch.size(); at++) {
                const fanfare::Item item = batch[at];
                CHECK(item.is_event() && item.data() == std::to_string(++last[item.user()]));
                received++;
            }
        }
    }
    CHECK(received == readers * events);
    const fanfare_stats stats = hub.stats();
    CHECK(stats.published == events && stats.subscriptions == readers && stats.gaps == 0 && stats.lapped == 0);
    hub.stop(std::chrono::milliseconds(0));
}

static void cycle()
{
    fanfare::Hub hub(config(10));
    fanfare::Subscription pulled = hub.subscribe({"t"});
    hub.subscribe_queued({"t", "u"});
    hub.on_wakeup([] {});
    const std::string id = hub.publish("t", "one").id;
    hub.publish("t", "two");
    CHECK(pulled.next()->data() == "one" && pulled.next()->data() == "two");
    fanfare::SubscribeOptions options;
    options.last_event_id = id;
    fanfare::Subscription resumed = hub.subscribe({"t"}, options);
    CHECK(resumed.next()->data() == "two");
    options.last_event_id = "nobody-knows";
    fanfare::Subscription torn = hub.subscribe({"t"}, options);
    CHECK(torn.next()->is_gap());
    try {
        hub.publish("", "no topic");
        CHECK(!"it is refused");
    } catch (const fanfare::Error &error) {
        CHECK(error.code() == FANFARE_ERR_INVALID_TOPIC);
    }
    CHECK(!hub.drain().empty());
    hub.stop(std::chrono::milliseconds(0));
    CHECK(resumed.next()->is_end());
}

static std::ptrdiff_t entries(const char *folder)
{
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

int main()
{
    const unsigned long readers = setting("CROWD", 1000), events = setting("EVENTS", 200), cycles = setting("CYCLES", 100);
    crowd(readers, events);
    // What is made once and kept.
    cycle();
    const auto descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    for (unsigned long n = 0; n < cycles; n++)
        cycle();
    // A thread that has been joined leaves the kernel's list a moment later.
    for (int tries = 0; tries < 6000 && entries("/proc/self/task") != threads; tries++)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(entries("/proc/self/fd") == descriptors && entries("/proc/self/task") == threads);
    std::cout << readers << " readers x " << events << " events, " << cycles << " hubs\n";
}
