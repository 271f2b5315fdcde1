/* Routes: an event of type `alert` also goes to the topic `alerts`; everything else goes its own way. */
#include "fanfare_handler.h"

ff_outcome transform(const ff_event *event) {
    if (!event->kind.is_some || !ff_equal(event->kind.text, FF_TEXT("alert"))) return ff_pass();
    ff_event *made = ff_alloc(2 * sizeof *made);
    made[0] = *event;
    made[1] = *event;
    made[1].topic = FF_TEXT("alerts");
    made[1].id = FF_NONE; /* an id names one event */
    return ff_emit(made, 2);
}
