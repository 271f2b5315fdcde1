/* Shouts: replaces the letters a to z of an event's data by capitals. */
#include "fanfare_handler.h"

ff_outcome transform(const ff_event *event) {
    char *loud = ff_alloc(event->data.len);
    for (size_t i = 0; i < event->data.len; i++) {
        char c = event->data.ptr[i];
        loud[i] = c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
    }
    return ff_replace((ff_text){loud, event->data.len});
}
