/* Counts votes: an event's data is what somebody votes for; everybody on the topic learns the new count. A whole voting
 * application is this file and a page. */
#include "fanfare_handler.h"

ff_outcome transform(const ff_event *event) {
    if (event->data.len == 0 || event->data.len > 64) return ff_reject(FF_TEXT("a vote has 1 to 64 bytes"));
    for (size_t i = 0; i < event->data.len; i++) {
        char c = event->data.ptr[i];
        if ((unsigned char)c < ' ' || c == '"' || c == '\\') return ff_reject(FF_TEXT("a vote is a plain word"));
    }
    int64_t votes;
    if (ff_kv_increment(FF_JOIN(FF_TEXT("votes/"), event->data), 1, 0, &votes) != FF_KV_OK)
        return ff_reject(FF_TEXT("too many choices"));
    ff_event *made = ff_alloc(sizeof *made);
    *made = (ff_event){
        .topic = event->topic,
        .kind = FF_SOME(FF_TEXT("tally")),
        .data = FF_JOIN(FF_TEXT("{\"choice\":\""), event->data, FF_TEXT("\",\"votes\":"), ff_number(votes), FF_TEXT("}")),
    };
    return ff_emit(made, 1);
}
