// What the wrapper adds to the C ABI: ownership, moving, exceptions, callbacks.

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <type_traits>

#include "fanfare.hpp"

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            std::cerr << __FILE__ << ":" << __LINE__ << ": failed: " << #condition << "\n";   \
            std::abort();                                                                     \
        }                                                                                     \
    } while (0)

template <typename Call> static fanfare_status code(Call &&call)
{
    try {
        call();
    } catch (const fanfare::Error &error) {
        CHECK(*error.what() && std::string(error.name()) == fanfare_code_name(error.code()));
        return error.code();
    }
    return FANFARE_OK;
}

static fanfare::Hub start()
{
    return fanfare::Hub(fanfare::Config().set("listen", "127.0.0.1:0").set("log", "error"));
}

using std::chrono::milliseconds;

template <typename T> constexpr bool moves_only =
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> && std::is_nothrow_move_constructible_v<T>
    && std::is_nothrow_move_assignable_v<T>;
static_assert(moves_only<fanfare::Hub> && moves_only<fanfare::Config> && moves_only<fanfare::Subscription>
    && moves_only<fanfare::Batch>);

static void moving()
{
    fanfare::Hub first = start();
    const std::string url = first.url();
    fanfare::Hub second = std::move(first);
    CHECK(second.url() == url && first.url().empty());
    CHECK(code([&] { first.publish("t", "x"); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(code([&] { (void)first.subscribe({"t"}); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(code([&] { (void)first.drain(); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(code([&] { (void)first.stats(); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(code([&] { first.stop(); }) == FANFARE_ERR_NULL_POINTER);

    fanfare::Subscription a = second.subscribe({"t"});
    fanfare::Subscription b = std::move(a);
    CHECK(code([&] { (void)a.next(milliseconds(0)); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(code([&] { a.add_topic("u"); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(code([&] { a.unsubscribe(); }) == FANFARE_ERR_NULL_POINTER);
    second.publish("t", "1");
    CHECK(b.next()->data() == "1");
    // What is assigned over ends.
    b = second.subscribe({"u"});
    CHECK(second.stats().subscriptions == 1);
    second.publish("u", "2");
    CHECK(b.next()->data() == "2" && !b.next(milliseconds(0)));
    {
        const fanfare::Subscription gone = second.subscribe({"t"});
        CHECK(second.stats().subscriptions == 2);
    }
    CHECK(second.stats().subscriptions == 1);

    fanfare_hub *old = second.handle();
    second = start();
    CHECK(fanfare_publish(old, nullptr, nullptr, nullptr) < 0 && second.url() != url);
    CHECK(std::string(fanfare_url(old)).empty());
    // Its hub is gone.
    CHECK(code([&] { (void)b.next(milliseconds(0)); }) == FANFARE_ERR_STALE_HANDLE);

    fanfare::Config config;
    fanfare::Config other = std::move(config);
    CHECK(code([&] { config.set("lag", "skip"); }) == FANFARE_ERR_NULL_POINTER);
    CHECK(other.set("lag", "skip").get("lag") == "skip");
    fanfare::Batch batch;
    fanfare::Batch empty = std::move(batch);
    CHECK(batch.empty() && empty.empty());
}

static void errors()
{
    fanfare::Hub hub = start();
    try {
        hub.publish("a\nb", "x");
        CHECK(!"published");
    } catch (const std::runtime_error &error) {
        CHECK(std::string(error.what()).find("topic") == 0);
    }
    CHECK(code([&] { hub.publish("", "x"); }) == FANFARE_ERR_INVALID_TOPIC);
    CHECK(code([&] { hub.publish(std::string_view(), "x"); }) == FANFARE_ERR_INVALID_TOPIC);
    CHECK(code([&] { hub.publish({"t", "x", ""}); }) == FANFARE_ERR_INVALID_EVENT);
    fanfare::Event late{"t", "x"};
    late.retry = milliseconds(-1);
    CHECK(code([&] { hub.publish(late); }) == FANFARE_ERR_INVALID_RETRY);
    CHECK(code([&] { (void)hub.subscribe({}); }) == FANFARE_ERR_INVALID_TOPIC);
    CHECK(code([] { fanfare::Config().set("lagg", "skip"); }) == FANFARE_ERR_INVALID_CONFIG);
    CHECK(code([] { fanfare::Config().set(std::string("lag\0x", 5), "skip"); }) == FANFARE_ERR_INVALID_CONFIG);
    CHECK(code([] { fanfare::Config().set("lag", std::string("skip\0x", 6)); }) == FANFARE_ERR_INVALID_CONFIG);
    CHECK(code([&] { fanfare::Hub(fanfare::Config().set("listen", hub.url().substr(7))); }) == FANFARE_ERR_START_FAILED);
    CHECK(code([] { fanfare::Config().toml("lag = 3"); }) == FANFARE_ERR_INVALID_CONFIG);
    hub.stop(milliseconds(0));
    CHECK(code([&] { hub.publish("t", "x"); }) == FANFARE_ERR_STOPPING);
}

static void wakeups()
{
    fanfare::Hub hub = start();
    std::atomic<int> calls{0};
    auto token = std::make_shared<int>(7);
    const std::weak_ptr<int> watched = token;
    hub.on_wakeup([&calls, token = std::move(token)] {
        calls += *token == 7;
        throw std::runtime_error("thrown in a hook");
    });
    const std::uint64_t id = hub.subscribe_queued({"t"});
    CHECK(calls == 1);
    CHECK(hub.drain().empty());
    hub.publish("t", "x");
    hub.publish("t", "y");
    CHECK(calls == 2 && hub.wait(milliseconds(0)));
    const fanfare::Batch batch = hub.drain();
    CHECK(batch.size() == 2 && batch[0].data() == "x" && batch[1].data() == "y" && batch[1].handle() == id);
    CHECK(hub.poll_fd() >= 0 && !hub.wait(milliseconds(0)));
    CHECK(!watched.expired());
    hub.on_wakeup(nullptr);
    CHECK(watched.expired());
    hub.publish("t", "z");
    CHECK(calls == 2);
    hub.unsubscribe(id);
    // Also one that is given too late.
    auto late = std::make_shared<int>(1);
    const std::weak_ptr<int> watched_late = late;
    hub.stop(milliseconds(0));
    CHECK(code([&] { hub.on_wakeup([late = std::move(late)] { (void)late; }); }) == FANFARE_ERR_STOPPING);
    CHECK(watched_late.expired());
}

static void waiting()
{
    fanfare::Hub hub = start();
    fanfare::Subscription reader = hub.subscribe({"t"});
    std::thread publisher([&] {
        for (int n = 0; n < 1000; n++)
            hub.publish("t", std::to_string(n));
        hub.stop(milliseconds(0));
    });
    int seen = 0;
    while (auto item = reader.next()) {
        if (item->is_end()) {
            CHECK(item->code() == FANFARE_ERR_STOPPING);
            continue;
        }
        CHECK(item->data() == std::to_string(seen++));
    }
    CHECK(seen == 1000);
    publisher.join();
}

int main()
{
    moving();
    errors();
    wakeups();
    waiting();
    std::cout << "wrapper: ok\n";
}
