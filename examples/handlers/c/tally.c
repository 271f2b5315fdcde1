/* Counts votes: an event's data is what somebody votes for; everybody on the topic learns the new count, and whoever comes
 * learns them all first. A whole voting application is this file and a page. */
#define FF_ON_SUBSCRIBE
#include "fanfare_handler.h"

/* So many fit into a greeting (handler.greeting_bytes). */
#define MAX_CHOICES 400

/* The choices of a topic, in a list, and the votes for each. Keys have 255 bytes at most. */
static ff_text choices_key(ff_text topic) { return FF_JOIN(FF_TEXT("choices/"), topic); }
static ff_text votes_key(ff_text topic, ff_text choice) {
    return FF_JOIN(FF_TEXT("votes/"), topic, FF_TEXT("/"), choice);
}

static size_t count_choices(ff_option known) {
    size_t count = known.is_some;
    for (size_t i = 0; known.is_some && i < known.text.len; i++) count += known.text.ptr[i] == '\n';
    return count;
}

ff_outcome transform(const ff_event *event) {
    ff_text topic = event->topic, choice = event->data;
    if (choice.len == 0 || choice.len > 64) return ff_reject(FF_TEXT("a vote has 1 to 64 bytes"));
    for (size_t i = 0; i < choice.len; i++) {
        char c = choice.ptr[i];
        if ((unsigned char)c < ' ' || c == '"' || c == '\\') return ff_reject(FF_TEXT("a vote is a plain word"));
    }
    int64_t votes;
    if (ff_kv_increment(votes_key(topic, choice), 1, 0, &votes) != FF_KV_OK) return ff_reject(FF_TEXT("too many choices"));
    if (votes == 1) {
        ff_option known = ff_kv_get(choices_key(topic));
        ff_text all = known.is_some ? FF_JOIN(known.text, FF_TEXT("\n"), choice) : choice;
        if (count_choices(known) == MAX_CHOICES || ff_kv_set(choices_key(topic), all, 0) != FF_KV_OK) {
            ff_kv_delete(votes_key(topic, choice));
            return ff_reject(FF_TEXT("too many choices"));
        }
    }
    ff_event *made = ff_alloc(sizeof *made);
    *made = (ff_event){
        .topic = topic,
        .kind = FF_SOME(FF_TEXT("tally")),
        .data = FF_JOIN(FF_TEXT("{\"choice\":\""), choice, FF_TEXT("\",\"votes\":"), ff_number(votes), FF_TEXT("}")),
    };
    return ff_emit(made, 1);
}

/* All counts of a topic: {"yes":3,"no":1}. */
static ff_text counts(ff_text topic) {
    ff_option known = ff_kv_get(choices_key(topic));
    size_t choices = count_choices(known), n = 0;
    ff_text *parts = ff_alloc((choices * 4 + 2) * sizeof *parts);
    parts[n++] = FF_TEXT("{");
    const char *at = known.text.ptr;
    for (size_t i = 0; i < choices; i++) {
        const char *end = known.text.ptr + known.text.len, *next = at;
        while (next < end && *next != '\n') next++;
        ff_text choice = {at, (size_t)(next - at)};
        ff_option votes = ff_kv_get(votes_key(topic, choice));
        parts[n++] = i ? FF_TEXT(",\"") : FF_TEXT("\"");
        parts[n++] = choice;
        parts[n++] = FF_TEXT("\":");
        parts[n++] = votes.is_some ? votes.text : FF_TEXT("0");
        at = next + 1;
    }
    parts[n++] = FF_TEXT("}");
    return ff_join(parts, n);
}

ff_welcome on_subscribe(const ff_subscriber *subscriber) {
    size_t count = subscriber->topics.len;
    ff_event *made = ff_alloc(count * sizeof *made);
    for (size_t i = 0; i < count; i++) {
        ff_text topic = subscriber->topics.ptr[i];
        made[i] = (ff_event){.topic = topic, .kind = FF_SOME(FF_TEXT("snapshot")), .data = counts(topic)};
    }
    return ff_greet(made, count);
}
