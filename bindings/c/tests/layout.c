/* The header by itself: it compiles as C99, C11, C17 and C++17 without a warning, also included twice, and its
 * structures lie in memory as programs that are compiled already expect them. */

#include "fanfare.h"
#include "fanfare.h"

#if defined(__cplusplus)
#define ASSERT(name, condition) static_assert(condition, #condition)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ASSERT(name, condition) _Static_assert(condition, #condition)
#else
#define ASSERT(name, condition) typedef char assert_##name[(condition) ? 1 : -1]
#endif

/* On 64-bit machines; a number here never changes, new fields go to the end. */
#if UINTPTR_MAX == UINT64_MAX
#define AT(type, field, offset) ASSERT(type##_##field, offsetof(type, field) == (offset))
#define SIZE(type, size) ASSERT(type##_in_all, sizeof(type) == (size))

AT(fanfare_str, ptr, 0);
AT(fanfare_str, len, 8);
SIZE(fanfare_str, 16);

AT(fanfare_error, size, 0);
AT(fanfare_error, code, 8);
AT(fanfare_error, os_errno, 12);
AT(fanfare_error, message, 16);
SIZE(fanfare_error, 512);

AT(fanfare_key, name, 8);
AT(fanfare_key, expects, 16);
AT(fanfare_key, default_value, 24);
AT(fanfare_key, doc, 32);
AT(fanfare_key, part, 40);
SIZE(fanfare_key, 48);

AT(fanfare_stop_report, streams, 8);
AT(fanfare_stop_report, cut, 16);
SIZE(fanfare_stop_report, 24);

AT(fanfare_event, topic, 8);
AT(fanfare_event, data, 24);
AT(fanfare_event, event, 40);
AT(fanfare_event, id, 56);
AT(fanfare_event, except, 72);
AT(fanfare_event, key, 88);
AT(fanfare_event, retry_ms, 104);
AT(fanfare_event, flags, 112);
AT(fanfare_event, reserved, 116);
SIZE(fanfare_event, 120);

AT(fanfare_published, position, 8);
AT(fanfare_published, events, 16);
AT(fanfare_published, id_len, 20);
AT(fanfare_published, id, 24);
SIZE(fanfare_published, 160);

AT(fanfare_stats, published, 8);
AT(fanfare_stats, published_bytes, 16);
AT(fanfare_stats, refused, 24);
AT(fanfare_stats, dropped, 32);
AT(fanfare_stats, gaps, 40);
AT(fanfare_stats, lapped, 48);
AT(fanfare_stats, history_events, 56);
AT(fanfare_stats, history_bytes, 64);
AT(fanfare_stats, topics, 72);
AT(fanfare_stats, subscriptions, 80);

AT(fanfare_handler, topics, 8);
AT(fanfare_handler, file, 24);
AT(fanfare_handler, bytes, 40);
AT(fanfare_handler, name, 56);
AT(fanfare_handler, settings, 72);
SIZE(fanfare_handler, 88);

AT(fanfare_handler_info, calls, 8);
AT(fanfare_handler_info, passed, 16);
AT(fanfare_handler_info, dropped, 24);
AT(fanfare_handler_info, replaced, 32);
AT(fanfare_handler_info, emitted, 40);
AT(fanfare_handler_info, rejected, 48);
AT(fanfare_handler_info, faults, 56);
AT(fanfare_handler_info, rested, 64);
AT(fanfare_handler_info, time_ns, 72);
AT(fanfare_handler_info, instances, 80);
AT(fanfare_handler_info, memory_bytes, 88);
AT(fanfare_handler_info, state_bytes, 96);
AT(fanfare_handler_info, reloads, 104);
AT(fanfare_handler_info, failed_reloads, 112);
AT(fanfare_handler_info, name_len, 120);
AT(fanfare_handler_info, topics_len, 124);
AT(fanfare_handler_info, name, 128);
AT(fanfare_handler_info, topics, 416);
SIZE(fanfare_handler_info, 704);

AT(fanfare_subscribe_options, topics, 8);
AT(fanfare_subscribe_options, topics_len, 16);
AT(fanfare_subscribe_options, last_event_id, 24);
AT(fanfare_subscribe_options, replay, 40);
AT(fanfare_subscribe_options, client, 48);
AT(fanfare_subscribe_options, events, 64);
AT(fanfare_subscribe_options, events_len, 72);
AT(fanfare_subscribe_options, lag, 80);
AT(fanfare_subscribe_options, flags, 84);
AT(fanfare_subscribe_options, user, 88);
AT(fanfare_subscribe_options, greeting, 96);
AT(fanfare_subscribe_options, greeting_len, 104);
SIZE(fanfare_subscribe_options, 112);

AT(fanfare_header, name, 0);
AT(fanfare_header, value, 16);
SIZE(fanfare_header, 32);

AT(fanfare_adopt_options, headers, 8);
AT(fanfare_adopt_options, headers_len, 16);
AT(fanfare_adopt_options, flags, 24);
AT(fanfare_adopt_options, reserved, 28);
SIZE(fanfare_adopt_options, 32);

AT(fanfare_item, kind, 8);
AT(fanfare_item, code, 12);
AT(fanfare_item, handle, 16);
AT(fanfare_item, user, 24);
AT(fanfare_item, topic, 32);
AT(fanfare_item, id, 48);
AT(fanfare_item, event, 64);
AT(fanfare_item, data, 80);
AT(fanfare_item, position, 96);
AT(fanfare_item, request, 104);
SIZE(fanfare_item, 112);

AT(fanfare_grant, client, 8);
SIZE(fanfare_grant, 24);

AT(fanfare_request, action, 8);
AT(fanfare_request, reserved, 12);
AT(fanfare_request, method, 16);
AT(fanfare_request, path, 32);
AT(fanfare_request, query, 48);
AT(fanfare_request, address, 64);
AT(fanfare_request, last_event_id, 80);
AT(fanfare_request, client, 96);
AT(fanfare_request, topics, 112);
AT(fanfare_request, topics_len, 120);
AT(fanfare_request, headers, 128);
AT(fanfare_request, headers_len, 136);
SIZE(fanfare_request, 144);
#endif

ASSERT(status, sizeof(fanfare_status) == 4);
ASSERT(codes, FANFARE_OK == 0 && FANFARE_AGAIN == 1 && FANFARE_ERR_INVALID_TOPIC == -1 && FANFARE_ERR_PANICKED == -39 && FANFARE_ERR_NOT_STORED == -40);
ASSERT(kinds, FANFARE_ITEM_EVENT == 1 && FANFARE_ITEM_GAP == 2 && FANFARE_ITEM_END == 3 && FANFARE_ITEM_READY == 4
    && FANFARE_ITEM_BYTES == 5);

int main(void)
{
    /* The library that is linked belongs to the header. */
    return fanfare_abi_version() == FANFARE_ABI_VERSION ? 0 : 1;
}
