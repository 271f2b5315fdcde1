/* The words of a scenario for the runner in C: values, fields, lists, and the memory that they live in until its end. */

#ifndef CONTRACT_WORDS_H
#define CONTRACT_WORDS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fanfare.h"

enum { MAX_LIST = 64 };

/* Bytes that a scenario gave. They live until its end. */
typedef struct {
    char *ptr;
    size_t len;
} bytes;

/* Where the runner is, why the scenario fails if it does, and what is freed at its end. */
static struct {
    const char *file;
    int line;
    bool failed;
    char why[1024];
    void *memory[65536];
    size_t memory_len;
} scene;

static void fail(const char *format, ...)
{
    va_list args;
    if (scene.failed)
        return;
    scene.failed = true;
    va_start(args, format);
    vsnprintf(scene.why, sizeof scene.why, format, args);
    va_end(args);
}

/* Memory that is freed at the end of the scenario. */
static void *keep(size_t len)
{
    void *memory = calloc(1, len ? len : 1);
    if (!memory || scene.memory_len == sizeof scene.memory / sizeof *scene.memory) {
        fprintf(stderr, "%s:%d: out of memory\n", scene.file, scene.line);
        exit(2);
    }
    return scene.memory[scene.memory_len++] = memory;
}

static bytes copy(fanfare_str text)
{
    bytes made = { keep(text.len + 1), text.len };
    if (text.len)
        memcpy(made.ptr, text.ptr, text.len);
    return made;
}

/* Values */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static bytes decode(const char *text, size_t len)
{
    size_t times = 1;
    if (len && *text == '*') {
        char *end;
        times = strtoul(text + 1, &end, 10);
        if (*end != ':' || times > 4194304) {
            fail("bad repetition");
            times = 0;
        }
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    bytes once = { keep(len + 1), 0 };
    for (size_t at = 0; at < len; at++) {
        if (text[at] != '%') {
            once.ptr[once.len++] = text[at];
        } else if (at + 2 < len && hex(text[at + 1]) >= 0 && hex(text[at + 2]) >= 0) {
            once.ptr[once.len++] = (char)(hex(text[at + 1]) * 16 + hex(text[at + 2]));
            at += 2;
        } else {
            fail("bad %% escape");
        }
    }
    if (times == 1)
        return once;
    bytes all = { keep(once.len * times + 1), once.len * times };
    for (size_t n = 0; n < times; n++)
        memcpy(all.ptr + n * once.len, once.ptr, once.len);
    return all;
}

static bytes decode_word(const char *word)
{
    return decode(word, strlen(word));
}

static fanfare_str view(bytes value)
{
    fanfare_str str = { value.ptr, value.len };
    return str;
}

/* The text of a field NAME=TEXT among the words; NULL if it is not there. */
static const char *field(char **words, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    for (size_t n = 0; n < len; n++)
        if (!strncmp(words[n], name, name_len) && words[n][name_len] == '=')
            return words[n] + name_len + 1;
    return NULL;
}

/* Fails on a field that is not among `known`, which are separated by spaces. */
static void only(char **words, size_t len, const char *known)
{
    for (size_t n = 0; n < len; n++) {
        const char *equals = strchr(words[n], '=');
        size_t name = equals ? (size_t)(equals - words[n]) : 0;
        const char *at = known;
        bool found = false;
        while (equals && *at && !found) {
            size_t word = strcspn(at, " ");
            found = word == name && !strncmp(at, words[n], name);
            at += word + (at[word] == ' ');
        }
        if (!found)
            fail("unknown field %s", words[n]);
    }
}

static fanfare_str value(char **words, size_t len, const char *name)
{
    const char *text = field(words, len, name);
    fanfare_str absent = { NULL, 0 };
    return text ? view(decode_word(text)) : absent;
}

static const fanfare_str *list(char **words, size_t len, const char *name, size_t *count)
{
    const char *text = field(words, len, name);
    fanfare_str *items = keep(MAX_LIST * sizeof *items);
    *count = 0;
    while (text && *count < MAX_LIST) {
        size_t part = strcspn(text, ",");
        items[(*count)++] = view(decode(text, part));
        text = text[part] ? text + part + 1 : NULL;
    }
    return items;
}

#endif
