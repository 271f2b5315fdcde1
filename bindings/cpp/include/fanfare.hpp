/* fanfare.hpp: libfanfare for C++17, over fanfare.h, header-only.
 * Licence: MIT OR Apache-2.0.
 *
 *     fanfare::Hub hub(fanfare::Config().set("listen", "127.0.0.1:4780"));
 *     fanfare::Subscription chat = hub.subscribe({"chat"});
 *     hub.publish("chat", "hello");
 *     while (auto item = chat.next(std::chrono::seconds(1)))
 *         std::cout << item->data() << "\n";
 *
 * Everything that fails throws fanfare::Error, whose code() is one of FANFARE_ERR_*. Hub, Config, Subscription and Batch own what
 * they name and can be moved but not copied; one that has been moved from names nothing: calls throw, destroying it is fine.
 * Hub may be used from many threads at once, the others from one at a time. A Subscription may outlive its Hub: it is over then. */

#ifndef FANFARE_HPP
#define FANFARE_HPP

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fanfare.h"

namespace fanfare {

/* A call that was refused. what() says what is wrong and where. */
class Error : public std::runtime_error {
public:
    explicit Error(const fanfare_error &error)
        : std::runtime_error(error.message), code_(error.code), os_errno_(error.os_errno) {}
    Error(fanfare_status code, const std::string &message) : std::runtime_error(message), code_(code), os_errno_(0) {}
    /* FANFARE_ERR_*. */
    fanfare_status code() const noexcept { return code_; }
    /* The code's stable name, such as "invalid_topic". */
    const char *name() const noexcept { return fanfare_code_name(code_); }
    /* errno of the system call that failed, or 0. */
    int os_errno() const noexcept { return os_errno_; }

private:
    fanfare_status code_;
    int os_errno_;
};

namespace detail {

template <typename T> T sized() noexcept {
    T value{};
    value.size = sizeof value;
    return value;
}

/* Makes a call with room for its error, and throws that. The result is FANFARE_OK or FANFARE_AGAIN. */
template <typename Call> fanfare_status check(Call &&call) {
    fanfare_error error = sized<fanfare_error>();
    const fanfare_status status = call(&error);
    if (status < 0)
        throw Error(error);
    return status;
}

/* Text that is there, also when it is empty. */
inline fanfare_str view(std::string_view text) noexcept { return {text.data() ? text.data() : "", text.size()}; }

inline fanfare_str view(const std::optional<std::string_view> &text) noexcept {
    return text ? view(*text) : fanfare_str{nullptr, 0};
}

inline std::string_view text(fanfare_str view) noexcept { return {view.ptr, view.len}; }

inline std::vector<fanfare_str> views(const std::vector<std::string_view> &texts) {
    std::vector<fanfare_str> all;
    all.reserve(texts.size());
    for (const std::string_view text : texts)
        all.push_back(view(text));
    return all;
}

inline std::uint64_t milliseconds(std::chrono::milliseconds time) noexcept {
    return time.count() < 0 ? 0 : static_cast<std::uint64_t>(time.count());
}

} // namespace detail

/* Wait for ever. */
inline constexpr std::chrono::milliseconds forever = (std::chrono::milliseconds::max)();

/* Options for a hub, by name and as text: docs/configuration.md. */
class Config {
public:
    Config() {
        detail::check([&](fanfare_error *error) { return fanfare_config_new(FANFARE_ABI_VERSION, &handle_, error); });
    }
    Config(Config &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Config &operator=(Config &&other) noexcept {
        Config taken(std::move(other));
        std::swap(handle_, taken.handle_);
        return *this;
    }
    ~Config() { fanfare_config_free(&handle_); }

    Config &set(const std::string &key, const std::string &value) & {
        /* The C function takes text that ends with NUL, which would hide the rest. */
        if (key.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
            throw Error(FANFARE_ERR_INVALID_CONFIG, std::string(key.c_str()) + ": a NUL in the name or the value");
        detail::check([&](fanfare_error *error) {
            return fanfare_config_set(handle_, key.c_str(), value.c_str(), error);
        });
        return *this;
    }
    Config &&set(const std::string &key, const std::string &value) && { return std::move(set(key, value)); }
    Config &toml(std::string_view text, const std::string &name = "configuration") {
        detail::check([&](fanfare_error *error) {
            return fanfare_config_toml(handle_, detail::view(text), name.c_str(), error);
        });
        return *this;
    }
    Config &file(const std::string &path) {
        detail::check([&](fanfare_error *error) { return fanfare_config_file(handle_, path.c_str(), error); });
        return *this;
    }
    std::string get(const std::string &key) const {
        std::size_t len = 0;
        const auto read = [&](std::string &into) {
            detail::check([&](fanfare_error *error) {
                return fanfare_config_get(handle_, key.c_str(), into.data(), into.size(), &len, error);
            });
        };
        std::string value;
        read(value);
        /* One more for the NUL. */
        value.resize(len + 1);
        read(value);
        value.resize(len);
        return value;
    }
    /* Requests to the hub's own listener that the host decides about: a sum of FANFARE_ACTION_*. */
    Config &authorize(std::uint32_t actions) {
        detail::check([&](fanfare_error *error) { return fanfare_config_authorize(handle_, actions, error); });
        return *this;
    }
    const fanfare_config *handle() const noexcept { return handle_; }

private:
    fanfare_config *handle_ = nullptr;
};

/* An event to publish. The views have to live until the call returns. */
struct Event {
    std::string_view topic;
    std::string_view data = {};
    std::optional<std::string_view> event = {};
    std::optional<std::string_view> id = {};
    std::optional<std::string_view> except = {};
    std::optional<std::string_view> key = {};
    std::optional<std::chrono::milliseconds> retry = {};

    fanfare_event to_c() const noexcept {
        fanfare_event c = detail::sized<fanfare_event>();
        c.topic = detail::view(topic);
        c.data = detail::view(data);
        c.event = detail::view(event);
        c.id = detail::view(id);
        c.except = detail::view(except);
        c.key = detail::view(key);
        if (retry) {
            /* A negative time is out of range, as it should be. */
            c.retry_ms = static_cast<std::uint64_t>(retry->count());
            c.flags = FANFARE_EVENT_RETRY;
        }
        return c;
    }
};

/* What publishing has done. */
struct Published {
    std::string id;
    std::uint64_t position = 0;
    std::uint32_t events = 0;
};

/* What a reader wants, besides its topics. */
struct SubscribeOptions {
    std::optional<std::string_view> last_event_id = {};
    /* The last N retained events first; FANFARE_REPLAY_ALL for all. */
    std::uint64_t replay = 0;
    std::optional<std::string_view> client = {};
    std::vector<std::string_view> events = {};
    /* FANFARE_LAG_*. */
    std::uint32_t lag = FANFARE_LAG_DEFAULT;
    std::uint64_t user = 0;
};

/* What is set for one event handler alone, as it follows its file in the option `handlers`: `event=vote;time=5ms;config.most=99`. */
struct HandlerSettings {
    std::string_view text;
};

/* One thing that came. Its texts are views into what it was read from: see there how long they live. */
class Item {
public:
    explicit Item(const fanfare_item &item) noexcept : item_(item) {}
    /* FANFARE_ITEM_*. */
    std::int32_t kind() const noexcept { return item_.kind; }
    bool is_event() const noexcept { return item_.kind == FANFARE_ITEM_EVENT; }
    bool is_gap() const noexcept { return item_.kind == FANFARE_ITEM_GAP; }
    bool is_end() const noexcept { return item_.kind == FANFARE_ITEM_END; }
    /* Why it is over, for an end. */
    fanfare_status code() const noexcept { return item_.code; }
    std::uint64_t handle() const noexcept { return item_.handle; }
    std::uint64_t user() const noexcept { return item_.user; }
    std::string_view topic() const noexcept { return detail::text(item_.topic); }
    std::string_view id() const noexcept { return detail::text(item_.id); }
    std::optional<std::string_view> event() const noexcept {
        if (!item_.event.ptr)
            return std::nullopt;
        return detail::text(item_.event);
    }
    std::string_view data() const noexcept { return detail::text(item_.data); }
    std::uint64_t position() const noexcept { return item_.position; }
    const fanfare_request *request() const noexcept { return item_.request; }

private:
    fanfare_item item_;
};

/* Items, and the memory of their texts. */
class Batch {
public:
    Batch() noexcept = default;
    explicit Batch(fanfare_batch *handle) : handle_(handle) {
        if (!handle_)
            return;
        try {
            detail::check([&](fanfare_error *error) {
                return fanfare_batch_items(handle_, sizeof(fanfare_item), &items_, &count_, error);
            });
        } catch (...) {
            fanfare_batch_free(&handle_);
            throw;
        }
    }
    Batch(Batch &&other) noexcept { swap(other); }
    Batch &operator=(Batch &&other) noexcept {
        Batch taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~Batch() { fanfare_batch_free(&handle_); }
    std::size_t size() const noexcept { return count_; }
    bool empty() const noexcept { return count_ == 0; }
    /* The item at `index`, which has to be below size(). */
    Item operator[](std::size_t index) const noexcept { return Item(items_[index]); }

private:
    void swap(Batch &other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(items_, other.items_);
        std::swap(count_, other.count_);
    }

    fanfare_batch *handle_ = nullptr;
    const fanfare_item *items_ = nullptr;
    std::size_t count_ = 0;
};

/* A reader inside the process. Ends when it is destroyed. */
class Subscription {
public:
    Subscription() noexcept = default;
    Subscription(fanfare_hub *hub, std::uint64_t id) noexcept : hub_(hub), id_(id) {}
    Subscription(Subscription &&other) noexcept { swap(other); }
    Subscription &operator=(Subscription &&other) noexcept {
        Subscription taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~Subscription() {
        if (hub_)
            fanfare_unsubscribe(hub_, id_, nullptr);
    }

    /* The next item; its texts live until the next call. Nothing when the time is over, or after an end. */
    std::optional<Item> next(std::chrono::milliseconds timeout = forever) {
        const std::uint64_t patience = timeout == forever ? FANFARE_FOREVER : detail::milliseconds(timeout);
        while (at_ == batch_.size()) {
            if (over_)
                return std::nullopt;
            fanfare_batch *more = nullptr;
            const fanfare_status status = detail::check(
                [&](fanfare_error *error) { return fanfare_pull(hub_, id_, patience, &more, error); });
            batch_ = Batch(more);
            at_ = 0;
            if (batch_.empty() && status == FANFARE_AGAIN)
                return std::nullopt;
        }
        const Item item = batch_[at_++];
        over_ = over_ || item.is_end();
        return item;
    }
    /* False if it is read already. */
    bool add_topic(std::string_view topic) {
        return detail::check([&](fanfare_error *error) {
            return fanfare_add_topic(hub_, id_, detail::view(topic), error);
        }) == FANFARE_OK;
    }
    /* False if it was not read. */
    bool remove_topic(std::string_view topic) {
        return detail::check([&](fanfare_error *error) {
            return fanfare_remove_topic(hub_, id_, detail::view(topic), error);
        }) == FANFARE_OK;
    }
    /* Ends it. */
    void unsubscribe() {
        detail::check([&](fanfare_error *error) { return fanfare_unsubscribe(hub_, id_, error); });
        batch_ = Batch();
        at_ = 0;
        over_ = true;
    }
    std::uint64_t id() const noexcept { return id_; }

private:
    void swap(Subscription &other) noexcept {
        std::swap(hub_, other.hub_);
        std::swap(id_, other.id_);
        std::swap(batch_, other.batch_);
        std::swap(at_, other.at_);
        std::swap(over_, other.over_);
    }

    fanfare_hub *hub_ = nullptr;
    std::uint64_t id_ = 0;
    Batch batch_;
    std::size_t at_ = 0;
    bool over_ = false;
};

/* A running hub. Stops when it is destroyed, at once; call stop() before for a gentle one. */
class Hub {
public:
    explicit Hub(const Config &config) {
        detail::check([&](fanfare_error *error) { return fanfare_start(config.handle(), &handle_, error); });
    }
    Hub(Hub &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Hub &operator=(Hub &&other) noexcept {
        Hub taken(std::move(other));
        std::swap(handle_, taken.handle_);
        return *this;
    }
    ~Hub() { fanfare_free(&handle_); }

    std::string url() const { return fanfare_url(handle_); }

    Published publish(const Event &event) {
        const fanfare_event c = event.to_c();
        fanfare_published done = detail::sized<fanfare_published>();
        detail::check([&](fanfare_error *error) { return fanfare_publish(handle_, &c, &done, error); });
        return {std::string(done.id, done.id_len), done.position, done.events};
    }
    Published publish(std::string_view topic, std::string_view data) {
        Event event;
        event.topic = topic;
        event.data = data;
        return publish(event);
    }

    /* All of them or none. */
    void publish_batch(const std::vector<Event> &events) {
        std::vector<fanfare_event> all;
        all.reserve(events.size());
        for (const Event &event : events)
            all.push_back(event.to_c());
        detail::check([&](fanfare_error *error) {
            return fanfare_publish_batch(handle_, all.data(), all.size(), nullptr, nullptr, error);
        });
    }
    /* False if it was closed before. */
    bool close_topic(std::string_view topic) {
        return detail::check([&](fanfare_error *error) {
            return fanfare_close_topic(handle_, detail::view(topic), error);
        }) == FANFARE_OK;
    }
    /* Deletes the events that a topic has, in memory and on disk; readers that have not got them are told by a gap. */
    void delete_history(std::string_view topic) {
        detail::check([&](fanfare_error *error) {
            return fanfare_delete_history(handle_, detail::view(topic), error);
        });
    }
    /* Loads an event handler from bytes; gives its name, with a number behind it if that is taken. Compiling may take seconds. A
     * library without handlers, which is the default, refuses with FANFARE_ERR_UNSUPPORTED. */
    std::string load_handler(std::string_view topics, std::string_view name, std::string_view bytes,
                             HandlerSettings settings = {}) {
        fanfare_handler handler = detail::sized<fanfare_handler>();
        handler.topics = detail::view(topics);
        handler.name = detail::view(name);
        handler.bytes = detail::view(bytes);
        handler.settings = detail::view(settings.text);
        return load(handler);
    }
    /* The same from a file, which names it. */
    std::string load_handler(std::string_view topics, std::string_view file, HandlerSettings settings = {}) {
        fanfare_handler handler = detail::sized<fanfare_handler>();
        handler.topics = detail::view(topics);
        handler.file = detail::view(file);
        handler.settings = detail::view(settings.text);
        return load(handler);
    }
    /* False if there is none of that name. */
    bool unload_handler(std::string_view name) {
        return detail::check([&](fanfare_error *error) {
            return fanfare_unload_handler(handle_, detail::view(name), error);
        }) == FANFARE_OK;
    }
    /* The handlers and what they have done, in the order in which events pass them. */
    std::vector<fanfare_handler_info> handlers() const {
        std::vector<fanfare_handler_info> all;
        std::size_t count = 0;
        /* Another thread may load one between two looks. */
        do {
            all.assign(count, detail::sized<fanfare_handler_info>());
            detail::check([&](fanfare_error *error) {
                return fanfare_get_handlers(handle_, all.data(), all.size(), &count, error);
            });
        } while (count > all.size());
        all.resize(count);
        return all;
    }
    /* A reader that the host reads with Subscription::next, from any thread. */
    Subscription subscribe(const std::vector<std::string_view> &topics, const SubscribeOptions &options = {}) {
        return Subscription(handle_, open(topics, options, FANFARE_ON_DEMAND));
    }
    /* A reader whose events come by drain(), for hosts with a loop; ends with unsubscribe. */
    std::uint64_t subscribe_queued(const std::vector<std::string_view> &topics, const SubscribeOptions &options = {}) {
        return open(topics, options, 0);
    }
    void unsubscribe(std::uint64_t id) {
        detail::check([&](fanfare_error *error) { return fanfare_unsubscribe(handle_, id, error); });
    }

    /* Readable while there is something to drain: for poll, epoll and the loops above them. */
    int poll_fd() {
        int fd = -1;
        detail::check([&](fanfare_error *error) { return fanfare_poll_fd(handle_, &fd, error); });
        return fd;
    }
    /* Calls `wake` when there is something to drain, on any thread. It must not block and cannot call into the library; what it
     * throws is dropped. An empty function takes it away. */
    void on_wakeup(std::function<void()> wake) {
        if (!wake) {
            detail::check([&](fanfare_error *error) {
                return fanfare_set_wakeup(handle_, nullptr, nullptr, nullptr, error);
            });
            return;
        }
        auto *owned = new std::function<void()>(std::move(wake));
        /* Owned by the library from here on, also when the call fails. */
        detail::check([&](fanfare_error *error) {
            return fanfare_set_wakeup(handle_, &Hub::run, owned, &Hub::drop, error);
        });
    }
    /* Waits until there is something to drain; false when the time is over. */
    bool wait(std::chrono::milliseconds timeout = forever) {
        const std::uint64_t patience = timeout == forever ? FANFARE_FOREVER : detail::milliseconds(timeout);
        return detail::check([&](fanfare_error *error) { return fanfare_wait(handle_, patience, error); }) == FANFARE_OK;
    }
    /* Some of what the queue has; empty when there is nothing more. */
    Batch drain() {
        fanfare_batch *batch = nullptr;
        fanfare_status status = FANFARE_OK;
        while (!batch && status == FANFARE_OK)
            status = detail::check([&](fanfare_error *error) { return fanfare_drain(handle_, &batch, error); });
        return Batch(batch);
    }

    fanfare_stats stats() const {
        fanfare_stats now = detail::sized<fanfare_stats>();
        detail::check([&](fanfare_error *error) { return fanfare_get_stats(handle_, &now, error); });
        return now;
    }
    /* Ends every stream gently within `deadline`; absent means the option timeouts.stop. While another thread stops, waits for that. */
    fanfare_stop_report stop(std::optional<std::chrono::milliseconds> deadline = std::nullopt) {
        fanfare_stop_report report = detail::sized<fanfare_stop_report>();
        const std::uint64_t time = deadline ? detail::milliseconds(*deadline) : FANFARE_STOP_DEFAULT;
        detail::check([&](fanfare_error *error) { return fanfare_stop(handle_, time, &report, error); });
        return report;
    }
    /* For the functions of fanfare.h that have none here: adopting sockets, streams that the host writes, requests. */
    fanfare_hub *handle() const noexcept { return handle_; }

private:
    std::string load(const fanfare_handler &handler) {
        fanfare_handler_info info = detail::sized<fanfare_handler_info>();
        detail::check([&](fanfare_error *error) { return fanfare_load_handler(handle_, &handler, &info, error); });
        return {info.name, info.name_len};
    }
    std::uint64_t open(const std::vector<std::string_view> &topics, const SubscribeOptions &options, std::uint32_t flags) {
        const std::vector<fanfare_str> names = detail::views(topics), types = detail::views(options.events);
        fanfare_subscribe_options c = detail::sized<fanfare_subscribe_options>();
        c.topics = names.data();
        c.topics_len = names.size();
        c.last_event_id = detail::view(options.last_event_id);
        c.replay = options.replay;
        c.client = detail::view(options.client);
        c.events = types.data();
        c.events_len = types.size();
        c.lag = options.lag;
        c.flags = flags;
        c.user = options.user;
        std::uint64_t id = 0;
        detail::check([&](fanfare_error *error) { return fanfare_subscribe(handle_, &c, &id, error); });
        return id;
    }
    static void run(void *user) noexcept {
        try {
            (*static_cast<std::function<void()> *>(user))();
        } catch (...) {
        }
    }
    static void drop(void *user) noexcept { delete static_cast<std::function<void()> *>(user); }

    fanfare_hub *handle_ = nullptr;
};

} // namespace fanfare

#endif
