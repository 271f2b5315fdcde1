/* Lets each topic have `rate` events a minute (configuration value, 60 if it is not set) and refuses the rest. */
#include "fanfare_handler.h"

ff_outcome transform(const ff_event *event) {
    ff_option set = ff_config(FF_TEXT("rate"));
    int64_t rate = set.is_some ? 0 : 60, events;
    for (size_t i = 0; set.is_some && i < set.text.len && i < 9; i++)
        if (set.text.ptr[i] >= '0' && set.text.ptr[i] <= '9') rate = rate * 10 + (set.text.ptr[i] - '0');
    /* The first event of a minute makes the key; it is gone when the minute is over. */
    if (ff_kv_increment(FF_JOIN(FF_TEXT("n/"), event->topic), 1, 60000, &events) != FF_KV_OK || events > rate)
        return ff_reject(FF_JOIN(FF_TEXT("more than "), ff_number(rate), FF_TEXT(" events a minute")));
    return ff_pass();
}
