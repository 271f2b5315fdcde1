// A hub inside a C++ program: it publishes, reads along, and serves the same events to browsers.
#include <iostream>

#include "fanfare.hpp"

int main()
{
    try {
        // Port 0 takes any free port; leave it out for http://127.0.0.1:4780.
        fanfare::Hub hub(fanfare::Config().set("listen", "127.0.0.1:0"));
        fanfare::Subscription chat = hub.subscribe({"chat"});
        std::cerr << "open " << hub.url() << "/events/chat\n";

        hub.publish("chat", "hello");
        const std::string id = hub.publish({"chat", "{\"from\":\"C++\"}", "json"}).id;
        hub.publish("chat", "bye");

        while (auto item = chat.next(std::chrono::milliseconds(0)))
            std::cout << item->event().value_or("message") << ": " << item->data() << "\n";

        // A reader that comes back gets what it has missed.
        fanfare::SubscribeOptions since;
        since.last_event_id = id;
        fanfare::Subscription back = hub.subscribe({"chat"}, since);
        std::cout << "after the second: " << back.next()->data() << "\n";

        try {
            hub.publish("not\na topic", "");
        } catch (const fanfare::Error &error) {
            std::cout << error.name() << ": " << error.what() << "\n";
        }
        hub.stop(std::chrono::seconds(1));
    } catch (const fanfare::Error &error) {
        std::cerr << error.name() << ": " << error.what() << "\n";
        return 1;
    }
}
