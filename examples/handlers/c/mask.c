/* Masks words: each word of the configuration value `words` (separated by blanks) becomes stars. ASCII letters are
 * compared without regard to case. Run with: --set handler.config='words=darn heck' */
#include "fanfare_handler.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

static bool begins(ff_text text, size_t at, ff_text word) {
    if (text.len - at < word.len) return false;
    for (size_t i = 0; i < word.len; i++)
        if (lower(text.ptr[at + i]) != lower(word.ptr[i])) return false;
    return true;
}

ff_outcome transform(const ff_event *event) {
    ff_text words = ff_config(FF_TEXT("words")).text, data = event->data;
    char *masked = NULL;
    for (size_t from = 0; from < words.len;) {
        size_t to = from;
        while (to < words.len && words.ptr[to] != ' ') to++;
        ff_text word = {words.ptr + from, to - from};
        for (size_t at = 0; word.len > 0 && at < data.len; at++) {
            if (!begins(data, at, word)) continue;
            if (masked == NULL) {
                masked = ff_alloc(data.len);
                __builtin_memcpy(masked, data.ptr, data.len);
            }
            __builtin_memset(masked + at, '*', word.len);
        }
        from = to + 1;
    }
    /* An event without such a word is passed on: nothing is copied back. */
    return masked == NULL ? ff_pass() : ff_replace((ff_text){masked, data.len});
}
