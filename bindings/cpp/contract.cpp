// The contract suite's runner for C++: see bindings/contract/README.md.
//
// Usage: contract FILE..

#include <charconv>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>

#include "fanfare.hpp"

using std::string;
using Words = std::vector<string>;

// Why a scenario fails.
struct Failure : std::runtime_error {
    using runtime_error::runtime_error;
};

static std::uint64_t number(const string &text)
{
    std::uint64_t value = 0;
    const auto end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || at != end)
        throw Failure("not a number: " + text);
    return value;
}

static string decode(const string &text)
{
    std::size_t times = 1, at = 0;
    if (!text.empty() && text[0] == '*') {
        at = text.find(':');
        if (at == string::npos)
            throw Failure("bad repetition");
        times = number(text.substr(1, at - 1));
        at++;
    }
    string once, all;
    for (; at < text.size(); at++) {
        if (text[at] != '%') {
            once += text[at];
            continue;
        }
        unsigned byte = 0;
        const auto end = text.data() + std::min(at + 3, text.size());
        if (std::from_chars(text.data() + at + 1, end, byte, 16).ptr != text.data() + at + 3)
            throw Failure("bad % escape");
        once += static_cast<char>(byte);
        at += 2;
    }
    if (times == 1)
        return once;
    all.reserve(once.size() * times);
    for (; times; times--)
        all += once;
    return all;
}

// The fields of a command, which have to be among those it knows.
class Fields {
public:
    Fields(const Words &words, std::size_t from, const string &known)
    {
        for (std::size_t n = from; n < words.size(); n++) {
            const std::size_t equals = words[n].find('=');
            const string name = words[n].substr(0, equals);
            if (equals == string::npos || (" " + known + " ").find(" " + name + " ") == string::npos)
                throw Failure("unknown field " + words[n]);
            raw_[name] = words[n].substr(equals + 1);
            decoded_[name] = decode(raw_[name]);
        }
    }
    bool has(const string &name) const { return raw_.count(name) != 0; }
    const string &raw(const string &name) const { return raw_.at(name); }
    std::optional<std::string_view> get(const string &name) const
    {
        const auto found = decoded_.find(name);
        if (found == decoded_.end())
            return std::nullopt;
        return found->second;
    }
    string text(const string &name) const { return string(get(name).value_or("")); }
    // A list: its parts are decoded one by one.
    Words list(const string &name) const
    {
        Words parts;
        if (!has(name))
            return parts;
        std::size_t from = 0, comma = 0;
        while (comma != string::npos) {
            comma = raw(name).find(',', from);
            parts.push_back(decode(raw(name).substr(from, comma - from)));
            from = comma + 1;
        }
        return parts;
    }

private:
    std::map<string, string> raw_, decoded_;
};

struct Draft {
    string topic, data;
    std::optional<string> event, id, except, key;
    std::optional<std::chrono::milliseconds> retry;

    fanfare::Event view() const { return {topic, data, event, id, except, key, retry}; }
};

class Scenario {
public:
    string name;

    explicit Scenario(string named) : name(std::move(named)) {}

    void run(const Words &words)
    {
        if (words[0] == "expect") {
            expect(words);
        } else if (words[0] == "count") {
            count(words);
        } else if (words[0] == "again") {
            if (command(Words(words.begin() + 1, words.end())))
                throw Failure("it did something");
        } else if (words[0] == "refused") {
            refused(words);
        } else if (!command(words)) {
            throw Failure("there was nothing to do");
        }
    }

private:
    // True if the command did something, false if there was nothing to do.
    bool command(const Words &words)
    {
        const string &what = words.at(0);
        const std::size_t len = words.size();
        if (what == "start" && len == 1) {
            subscriptions_.clear();
            hub_.reset();
            hub_.emplace(config_);
        } else if (what == "stop" && len == 1) {
            hub().stop(std::chrono::milliseconds(0));
        } else if (what == "config" && len == 3) {
            config_.set(decode(words[1]), decode(words[2]));
        } else if (what == "publish") {
            publish(words, 1, nullptr);
        } else if (what == "repeat" && len > 2 && words[2] == "publish") {
            for (std::uint64_t n = 1, times = number(words[1]); n <= times; n++) {
                const string text = std::to_string(n);
                publish(words, 3, &text);
            }
        } else if (what == "batch" && len == 1) {
            batch_.emplace();
        } else if (what == "commit" && len == 1) {
            std::vector<fanfare::Event> events;
            const std::vector<Draft> drafts = std::move(batch_.value());
            batch_.reset();
            for (const Draft &draft : drafts)
                events.push_back(draft.view());
            hub().publish_batch(events);
        } else if (what == "subscribe" && len > 2) {
            subscribe(words);
        } else if (what == "add" && len == 3) {
            return subscription(words[1]).add_topic(decode(words[2]));
        } else if (what == "remove" && len == 3) {
            return subscription(words[1]).remove_topic(decode(words[2]));
        } else if (what == "unsubscribe" && len == 2) {
            subscription(words[1]).unsubscribe();
        } else if (what == "close" && len == 2) {
            return hub().close_topic(decode(words[1]));
        } else if (what == "delete" && len == 2) {
            hub().delete_history(decode(words[1]));
        } else if (what == "load") {
            const Fields fields(words, 1, "topics file bytes name settings");
            const std::string settings = fields.text("settings");
            if (fields.has("file"))
                hub().load_handler(fields.text("topics"), fields.text("file"), fanfare::HandlerSettings{ settings });
            else
                hub().load_handler(fields.text("topics"), fields.text("name"), fields.text("bytes"),
                                   fanfare::HandlerSettings{ settings });
        } else if (what == "unload" && len == 2) {
            return hub().unload_handler(decode(words[1]));
        } else if (what == "handlers") {
            handlers(words);
        } else if (what == "handler" && len > 1) {
            handler(words);
        } else if (what == "stats") {
            stats(words);
        } else {
            throw Failure("unknown command " + what);
        }
        return true;
    }

    void publish(const Words &words, std::size_t from, const string *data)
    {
        const Fields fields(words, from, "topic data event id except key retry save");
        const auto optional = [&](const char *field) {
            return fields.has(field) ? std::optional<string>(fields.text(field)) : std::nullopt;
        };
        Draft draft{fields.text("topic"), data ? *data : fields.text("data"), optional("event"), optional("id"),
            optional("except"), optional("key"), std::nullopt};
        if (fields.has("retry"))
            draft.retry = std::chrono::milliseconds(number(fields.raw("retry")));
        if (batch_) {
            batch_->push_back(draft);
            return;
        }
        const fanfare::Published done = hub().publish(draft.view());
        if (fields.has("save"))
            saved_[fields.raw("save")] = done.id;
    }

    void subscribe(const Words &words)
    {
        const Fields fields(words, 2, "topics since since_saved replay client events lag");
        const Words topics = fields.list("topics"), events = fields.list("events");
        fanfare::SubscribeOptions options;
        options.last_event_id = fields.get("since");
        if (fields.has("since_saved"))
            options.last_event_id = saved_.at(fields.raw("since_saved"));
        if (fields.has("replay"))
            options.replay = fields.raw("replay") == "all" ? FANFARE_REPLAY_ALL : number(fields.raw("replay"));
        options.client = fields.get("client");
        options.events.assign(events.begin(), events.end());
        if (fields.has("lag")) {
            const std::map<string, std::uint32_t> policies{{"disconnect", FANFARE_LAG_DISCONNECT},
                {"skip", FANFARE_LAG_SKIP}, {"conflate", FANFARE_LAG_CONFLATE}};
            options.lag = policies.at(fields.raw("lag"));
        }
        subscriptions_[words[1]] =
            hub().subscribe(std::vector<std::string_view>(topics.begin(), topics.end()), options);
    }

    void stats(const Words &words)
    {
        const Fields fields(words, 1, "published refused gaps lapped topics subscriptions history_events");
        const fanfare_stats now = hub().stats();
        const std::map<string, std::uint64_t> values{{"published", now.published}, {"refused", now.refused},
            {"gaps", now.gaps}, {"lapped", now.lapped}, {"topics", now.topics}, {"subscriptions", now.subscriptions},
            {"history_events", now.history_events}};
        for (const auto &[key, value] : values)
            if (fields.has(key) && number(fields.raw(key)) != value)
                throw Failure(key + " is " + std::to_string(value));
    }

    void handlers(const Words &words)
    {
        Words found;
        for (const fanfare_handler_info &info : hub().handlers())
            found.emplace_back(info.name);
        if (found.size() != words.size() - 1)
            throw Failure("there are " + std::to_string(found.size()) + " handlers");
        for (std::size_t n = 0; n < found.size(); n++)
            if (found[n] != decode(words[n + 1]))
                throw Failure("there is " + found[n] + " instead of " + words[n + 1]);
    }

    void handler(const Words &words)
    {
        const Fields fields(words, 2, "calls passed dropped replaced emitted rejected faults rested");
        for (const fanfare_handler_info &info : hub().handlers()) {
            if (info.name != decode(words[1]))
                continue;
            const std::map<string, std::uint64_t> values{{"calls", info.calls}, {"passed", info.passed},
                {"dropped", info.dropped}, {"replaced", info.replaced}, {"emitted", info.emitted},
                {"rejected", info.rejected}, {"faults", info.faults}, {"rested", info.rested}};
            for (const auto &[key, value] : values)
                if (fields.has(key) && number(fields.raw(key)) != value)
                    throw Failure(key + " is " + std::to_string(value));
            return;
        }
        throw Failure("no handler " + words[1]);
    }

    void refused(const Words &words)
    {
        std::size_t colon = 2;
        while (colon < words.size() && words[colon] != ":")
            colon++;
        if (colon + 1 >= words.size())
            throw Failure("refused CODE .. : COMMAND ..");
        try {
            command(Words(words.begin() + static_cast<std::ptrdiff_t>(colon) + 1, words.end()));
        } catch (const fanfare::Error &error) {
            if (error.name() != words[1])
                throw Failure(string("it gives ") + error.name() + ": " + error.what());
            for (std::size_t n = 2; n < colon; n++)
                if (string(error.what()).find(decode(words[n])) == string::npos)
                    throw Failure("the message does not mention " + words[n] + ": " + error.what());
            return;
        }
        throw Failure("it is not refused");
    }

    std::optional<fanfare::Item> next(const string &reader)
    {
        return subscription(reader).next(std::chrono::milliseconds(0));
    }

    static string describe(const fanfare::Item &item)
    {
        const char *kinds[] = {"?", "event", "gap", "end"};
        return string(kinds[item.kind() < 4 ? item.kind() : 0]) + " " + fanfare_code_name(item.code()) + " "
            + string(item.event().value_or("-")) + " " + string(item.id()) + ": " + string(item.data().substr(0, 100));
    }

    void expect(const Words &words)
    {
        if (words.size() < 3)
            throw Failure("expect NAME WHAT ..");
        const string &what = words[2];
        const std::optional<fanfare::Item> item = next(words[1]);
        if (what == "nothing" && words.size() == 3) {
            if (item)
                throw Failure("there is an item: " + describe(*item));
            return;
        }
        if (!item)
            throw Failure("there is nothing");
        bool same;
        if (what == "event") {
            const Fields fields(words, 3, "data event topic id id_saved");
            same = item->is_event() && item->data() == fields.text("data") && item->event() == fields.get("event")
                && (!fields.has("topic") || item->topic() == fields.text("topic"))
                && (!fields.has("id") || item->id() == fields.text("id"))
                && (!fields.has("id_saved") || item->id() == saved_.at(fields.raw("id_saved")));
        } else if (what == "gap") {
            const Fields fields(words, 3, "requested");
            const auto mentions = [&](const string &text) { return item->data().find(text) != std::string_view::npos; };
            same = item->is_gap() && item->event() == "fanfare.gap" && mentions("\"oldest\":") && mentions("\"newest\":")
                && (!fields.has("requested") || mentions("\"requested\":\"" + fields.text("requested") + "\""));
        } else if (what == "end" && words.size() == 4) {
            same = item->is_end() && fanfare_code_name(item->code()) == words[3];
            if (same && next(words[1]))
                throw Failure("something comes after the end");
        } else {
            throw Failure("unknown item " + what);
        }
        if (!same)
            throw Failure("it is " + describe(*item));
    }

    void count(const Words &words)
    {
        if (words.size() != 3)
            throw Failure("count NAME N");
        for (std::uint64_t n = 1, wanted = number(words[2]); n <= wanted; n++) {
            const std::optional<fanfare::Item> item = next(words[1]);
            if (!item || !item->is_event() || item->data() != std::to_string(n))
                throw Failure("not " + std::to_string(n) + ": " + (item ? describe(*item) : "nothing"));
        }
    }

    fanfare::Hub &hub()
    {
        if (!hub_)
            throw Failure("no hub has been started");
        return *hub_;
    }

    fanfare::Subscription &subscription(const string &reader)
    {
        const auto found = subscriptions_.find(reader);
        if (found == subscriptions_.end())
            throw Failure("no subscription " + reader);
        return found->second;
    }

    fanfare::Config config_ =
        fanfare::Config().set("listen", "127.0.0.1:0").set("console", "false").set("log", "error");
    std::optional<fanfare::Hub> hub_;
    std::map<string, fanfare::Subscription> subscriptions_;
    std::map<string, string> saved_;
    std::optional<std::vector<Draft>> batch_;
};

int main(int argc, char **argv)
{
    int scenarios = 0, failures = 0;
    for (int n = 1; n < argc; n++) {
        std::ifstream file(argv[n]);
        if (!file) {
            std::cerr << "cannot read " << argv[n] << "\n";
            return 2;
        }
        std::optional<Scenario> scenario;
        string line, why;
        const auto end = [&] {
            if (!scenario)
                return;
            scenarios++;
            failures += !why.empty();
            std::cout << (why.empty() ? "ok " : "FAIL ") << scenario->name << (why.empty() ? "" : ": ") << why << std::endl;
            scenario.reset();
            why.clear();
        };
        for (int number = 1; std::getline(file, line); number++) {
            if (line.empty() || line[0] == '#')
                continue;
            std::istringstream stream(line);
            const Words words{std::istream_iterator<string>(stream), {}};
            if (words[0] == "scenario" && words.size() == 2) {
                end();
                scenario.emplace(words[1]);
                continue;
            }
            if (!scenario || !why.empty())
                continue;
            try {
                scenario->run(words);
            } catch (const fanfare::Error &error) {
                why = string("it gives ") + error.name() + ": " + error.what();
            } catch (const std::exception &error) {
                why = error.what();
            }
            if (!why.empty())
                why = string(argv[n]) + ":" + std::to_string(number) + ": " + why;
        }
        end();
    }
    return failures || !scenarios;
}
