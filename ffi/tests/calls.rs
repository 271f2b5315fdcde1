//! The exported functions as Rust sees them: one story each. The C tests have the rest.
#![allow(clippy::undocumented_unsafe_blocks, reason = "every call below keeps the contract of the header")]

use std::ffi::{CStr, CString, c_char};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::time::Duration;

use fanfare::*;

fn text(text: &str) -> fanfare_str {
    fanfare_str { ptr: text.as_ptr().cast(), len: text.len() }
}

fn shown(view: fanfare_str) -> String {
    if view.ptr.is_null() {
        return String::new();
    }
    String::from_utf8(unsafe { std::slice::from_raw_parts(view.ptr.cast(), view.len) }.to_vec())
        .expect("UTF-8")
}

fn zeroed<T>() -> T {
    unsafe { std::mem::zeroed() }
}

fn room() -> fanfare_error {
    let mut error: fanfare_error = zeroed();
    error.size = size_of::<fanfare_error>();
    error
}

fn message(error: &fanfare_error) -> String {
    unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned()
}

fn start(options: &[(&str, &str)]) -> *mut fanfare_hub {
    start_asking(options, 0)
}

/// As [`start`], where the host decides about these actions.
fn start_asking(options: &[(&str, &str)], actions: u32) -> *mut fanfare_hub {
    let (mut config, mut hub, mut error) = (null_mut(), null_mut(), room());
    unsafe {
        assert_eq!(fanfare_config_new(FANFARE_ABI_VERSION, &raw mut config, null_mut()), FANFARE_OK);
        for (key, value) in [("listen", "127.0.0.1:0")].iter().chain(options) {
            let (key, value) = (CString::new(*key).expect("text"), CString::new(*value).expect("text"));
            let status = fanfare_config_set(config, key.as_ptr(), value.as_ptr(), &raw mut error);
            assert_eq!(status, FANFARE_OK, "{}", message(&error));
        }
        assert_eq!(fanfare_config_authorize(config, actions, null_mut()), FANFARE_OK);
        assert_eq!(fanfare_start(config, &raw mut hub, &raw mut error), FANFARE_OK, "{}", message(&error));
        fanfare_config_free(&raw mut config);
    }
    hub
}

fn publish(hub: *mut fanfare_hub, topic: &str, data: &str) -> String {
    let mut event: fanfare_event = zeroed();
    (event.size, event.topic, event.data) = (size_of::<fanfare_event>(), text(topic), text(data));
    let mut done: fanfare_published = zeroed();
    done.size = size_of::<fanfare_published>();
    let mut error = room();
    let status = unsafe { fanfare_publish(hub, &raw const event, &raw mut done, &raw mut error) };
    assert_eq!(status, FANFARE_OK, "{}", message(&error));
    unsafe { CStr::from_ptr(done.id.as_ptr()) }.to_string_lossy().into_owned()
}

fn options(topics: &[fanfare_str]) -> fanfare_subscribe_options {
    let mut options: fanfare_subscribe_options = zeroed();
    options.size = size_of::<fanfare_subscribe_options>();
    (options.topics, options.topics_len) = (topics.as_ptr(), topics.len());
    options
}

fn subscribe(hub: *mut fanfare_hub, options: &fanfare_subscribe_options) -> u64 {
    let (mut id, mut error) = (0, room());
    let status = unsafe { fanfare_subscribe(hub, options, &raw mut id, &raw mut error) };
    assert_eq!(status, FANFARE_OK, "{}", message(&error));
    id
}

/// Kind, code, handle and data of each item; frees the batch.
fn items(mut batch: *mut fanfare_batch) -> Vec<(i32, i32, u64, String)> {
    if batch.is_null() {
        return Vec::new();
    }
    let (mut items, mut count) = (null(), 0);
    let size = size_of::<fanfare_item>();
    unsafe {
        assert_eq!(fanfare_batch_items(batch, size, &raw mut items, &raw mut count, null_mut()), FANFARE_OK);
        let all = std::slice::from_raw_parts(items, count);
        let all = all.iter().map(|item| (item.kind, item.code, item.handle, shown(item.data))).collect();
        fanfare_batch_free(&raw mut batch);
        assert!(batch.is_null());
        all
    }
}

fn drain(hub: *mut fanfare_hub) -> (i32, Vec<(i32, i32, u64, String)>) {
    let mut batch = null_mut();
    let status = unsafe { fanfare_drain(hub, &raw mut batch, null_mut()) };
    (status, items(batch))
}

fn pull(hub: *mut fanfare_hub, id: u64, timeout_ms: u64) -> (i32, Vec<(i32, i32, u64, String)>) {
    let mut batch = null_mut();
    let status = unsafe { fanfare_pull(hub, id, timeout_ms, &raw mut batch, null_mut()) };
    (status, items(batch))
}

fn stop(hub: &mut *mut fanfare_hub) {
    assert_eq!(unsafe { fanfare_stop(*hub, 0, null_mut(), null_mut()) }, FANFARE_OK);
    unsafe { fanfare_free(hub) };
    assert!(hub.is_null());
}

fn stale() -> i32 {
    unsafe { fanfare_code_number(c"stale_handle".as_ptr()) }
}

#[test]
fn events_are_drained_in_order_and_the_end_is_told() {
    let mut hub = start(&[]);
    let topics = [text("chat")];
    let id = subscribe(hub, &options(&topics));
    for n in 0..3 {
        publish(hub, "chat", &n.to_string());
    }
    assert_eq!(unsafe { fanfare_wait(hub, FANFARE_FOREVER, null_mut()) }, FANFARE_OK);
    let (status, all) = drain(hub);
    assert_eq!(status, FANFARE_AGAIN);
    let data: Vec<_> = all.iter().map(|item| (item.0, item.2, item.3.as_str())).collect();
    assert_eq!(
        data,
        [(FANFARE_ITEM_EVENT, id, "0"), (FANFARE_ITEM_EVENT, id, "1"), (FANFARE_ITEM_EVENT, id, "2")]
    );
    assert_eq!(drain(hub), (FANFARE_AGAIN, Vec::new()));
    assert_eq!(unsafe { fanfare_wait(hub, 1, null_mut()) }, FANFARE_AGAIN);

    assert_eq!(unsafe { fanfare_close_topic(hub, text("chat"), null_mut()) }, FANFARE_OK);
    let closed = unsafe { fanfare_code_number(c"topic_closed".as_ptr()) };
    assert_eq!(drain(hub).1, [(FANFARE_ITEM_END, closed, id, String::new())]);
    assert_eq!(unsafe { fanfare_unsubscribe(hub, id, null_mut()) }, stale());
    stop(&mut hub);
}

#[test]
fn pulling_waits_and_is_announced() {
    let mut hub = start(&[]);
    let topics = [text("chat")];
    let wanted = fanfare_subscribe_options { flags: FANFARE_ON_DEMAND, user: 7, ..options(&topics) };
    let id = subscribe(hub, &wanted);
    assert_eq!(drain(hub).1, [(FANFARE_ITEM_READY, 0, id, String::new())]);
    assert_eq!(pull(hub, id, 0), (FANFARE_AGAIN, Vec::new()));
    publish(hub, "chat", "one");
    publish(hub, "chat", "two");
    assert_eq!(drain(hub).1, [(FANFARE_ITEM_READY, 0, id, String::new())]);
    let (status, all) = pull(hub, id, 0);
    assert_eq!((status, all.len()), (FANFARE_AGAIN, 2));
    assert_eq!(pull(hub, id, 5), (FANFARE_AGAIN, Vec::new()));
    let late = {
        let hub = hub.addr();
        std::thread::spawn(move || pull(std::ptr::without_provenance_mut(hub), id, FANFARE_FOREVER))
    };
    std::thread::sleep(Duration::from_millis(20));
    publish(hub, "chat", "three");
    let (status, all) = late.join().expect("no panic");
    assert_eq!((status, all[0].3.as_str()), (FANFARE_OK, "three"));
    let waiting = {
        let hub = hub.addr();
        std::thread::spawn(move || pull(std::ptr::without_provenance_mut(hub), id, FANFARE_FOREVER))
    };
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(unsafe { fanfare_unsubscribe(hub, id, null_mut()) }, FANFARE_OK);
    assert_eq!(waiting.join().expect("no panic"), (stale(), Vec::new()));
    stop(&mut hub);
}

#[test]
fn topics_change_while_a_thread_waits() {
    let mut hub = start(&[]);
    let topics = [text("chat")];
    let id = subscribe(hub, &fanfare_subscribe_options { flags: FANFARE_ON_DEMAND, ..options(&topics) });
    assert_eq!(pull(hub, id, 0), (FANFARE_AGAIN, Vec::new()));
    let waiting = {
        let hub = hub.addr();
        std::thread::spawn(move || pull(std::ptr::without_provenance_mut(hub), id, FANFARE_FOREVER))
    };
    std::thread::sleep(Duration::from_millis(20));
    unsafe {
        assert_eq!(fanfare_add_topic(hub, id, text("news"), null_mut()), FANFARE_OK);
        assert_eq!(fanfare_remove_topic(hub, id, text("chat"), null_mut()), FANFARE_OK);
    }
    publish(hub, "chat", "unread");
    publish(hub, "news", "read");
    let (_, all) = waiting.join().expect("no panic");
    assert_eq!(all.iter().map(|item| item.3.as_str()).collect::<Vec<_>>(), ["read"]);
    stop(&mut hub);
}

#[test]
fn resume_goes_on_after_the_id() {
    let mut hub = start(&[]);
    publish(hub, "chat", "old");
    let id = publish(hub, "chat", "seen");
    publish(hub, "chat", "new");
    let topics = [text("chat")];
    subscribe(hub, &fanfare_subscribe_options { last_event_id: text(&id), ..options(&topics) });
    assert_eq!(drain(hub).1.iter().map(|item| item.3.as_str()).collect::<Vec<_>>(), ["new"]);
    subscribe(hub, &fanfare_subscribe_options { last_event_id: text("nobody-7"), ..options(&topics) });
    let (_, all) = drain(hub);
    assert_eq!(all[0].0, FANFARE_ITEM_GAP);
    assert!(all[0].3.starts_with(r#"{"requested":"nobody-7""#), "{}", all[0].3);
    assert_eq!(all.len(), 4);
    stop(&mut hub);
}

#[test]
fn history_on_disk_outlives_the_hub() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().to_str().expect("UTF-8");
    let options_on_disk = [("data", path), ("history.durability", "always"), ("history.events", "10")];
    let mut hub = start(&options_on_disk);
    let ids: Vec<String> = (0..100).map(|n| publish(hub, "chat", &n.to_string())).collect();
    stop(&mut hub);
    let mut hub = start(&options_on_disk);
    assert_eq!(
        publish(hub, "chat", "100"),
        ids[0].replace("-1", "-101"),
        "the same epoch, the next position"
    );
    let topics = [text("chat")];
    let last_event_id = text(&ids[2]);
    let wanted = fanfare_subscribe_options { flags: FANFARE_ON_DEMAND, last_event_id, ..options(&topics) };
    let id = subscribe(hub, &wanted);
    let mut got = Vec::new();
    while got.len() < 98 {
        let (_, items) = pull(hub, id, 60_000);
        assert!(!items.is_empty(), "nothing in a minute after {} events", got.len());
        got.extend(items.into_iter().map(|item| item.3));
    }
    assert_eq!(got, (3..=100).map(|n| n.to_string()).collect::<Vec<_>>());
    stop(&mut hub);
}

#[test]
fn refusals_name_what_and_why() {
    let mut hub = start(&[]);
    let mut event: fanfare_event = zeroed();
    let mut error = room();
    let mut refused = |event: &fanfare_event| {
        let status = unsafe { fanfare_publish(hub, event, null_mut(), &raw mut error) };
        let name = unsafe { CStr::from_ptr(fanfare_code_name(status)) };
        (name.to_string_lossy().into_owned(), message(&error))
    };
    assert_eq!(refused(&event).0, "invalid_parameter");
    event.size = size_of::<fanfare_event>();
    assert_eq!(refused(&event), ("null_pointer".into(), "topic is missing".into()));
    event.topic = text("a\nb");
    assert_eq!(refused(&event).0, "invalid_topic");
    event.topic = text("chat");
    event.data = fanfare_str { ptr: c"\xff".as_ptr().cast::<c_char>(), len: 1 };
    assert_eq!(refused(&event), ("invalid_data".into(), "data is not UTF-8 (at byte 0)".into()));
    event.data = fanfare_str { ptr: null(), len: 9 };
    assert_eq!(refused(&event).0, "null_pointer");
    assert_eq!(drain(hub).1, []);
    stop(&mut hub);
}

#[test]
fn an_adopted_socket_reads_and_its_end_is_told() {
    let mut hub = start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    client.write_all(b"GET /mine HTTP/1.1\r\nhost: x\r\n\r\n").expect("request");
    let (mut host, _) = listener.accept().expect("accept");
    let mut request = [0; 512];
    assert!(host.read(&mut request).expect("request") > 0);
    let topics = [text("chat")];
    let headers = [fanfare_header { name: text("x-mine"), value: text("yes") }];
    let mut how: fanfare_adopt_options = zeroed();
    how.size = size_of::<fanfare_adopt_options>();
    (how.headers, how.headers_len, how.flags) = (headers.as_ptr(), 1, FANFARE_NOTIFY_END);
    let wanted = fanfare_subscribe_options { user: 9, ..options(&topics) };
    let (mut stream, mut error) = (0, room());
    let status = unsafe {
        fanfare_adopt(
            hub,
            host.as_raw_fd(),
            &raw const wanted,
            &raw const how,
            &raw mut stream,
            &raw mut error,
        )
    };
    assert_eq!(status, FANFARE_OK, "{}", message(&error));
    drop(host);
    publish(hub, "chat", "hello");
    let mut lines =
        BufReader::new(client.try_clone().expect("clone")).lines().map(|line| line.expect("line"));
    assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
    assert!(lines.by_ref().any(|line| line == "x-mine: yes"));
    assert!(lines.by_ref().any(|line| line == "data: hello"));
    drop((lines, client));
    assert_eq!(unsafe { fanfare_wait(hub, FANFARE_FOREVER, null_mut()) }, FANFARE_OK);
    assert_eq!(drain(hub).1, [(FANFARE_ITEM_END, 0, stream, String::new())]);
    assert_eq!(unsafe { fanfare_close_stream(hub, stream, null_mut()) }, stale());
    let status = unsafe {
        fanfare_adopt(hub, listener.as_raw_fd(), &raw const wanted, null(), null_mut(), &raw mut error)
    };
    assert_eq!(unsafe { CStr::from_ptr(fanfare_code_name(status)) }, c"unsupported", "{}", message(&error));
    stop(&mut hub);
}

#[test]
fn a_host_written_stream_gives_its_bytes() {
    let mut hub = start(&[]);
    let topics = [text("chat")];
    let (wanted, mut stream) = (options(&topics), 0);
    assert_eq!(
        unsafe { fanfare_open_stream(hub, &raw const wanted, &raw mut stream, null_mut()) },
        FANFARE_OK
    );
    assert_eq!(drain(hub).1, [(FANFARE_ITEM_READY, 0, stream, String::new())]);
    let (status, all) = pull(hub, stream, 0);
    assert_eq!((status, all[0].0), (FANFARE_AGAIN, FANFARE_ITEM_BYTES));
    assert!(all[0].3.starts_with(":\nretry: "), "{}", all[0].3);
    publish(hub, "chat", "hello");
    assert_eq!(drain(hub).1, [(FANFARE_ITEM_READY, 0, stream, String::new())]);
    let (_, all) = pull(hub, stream, FANFARE_FOREVER);
    assert!(all[0].3.contains("data: hello\n"), "{}", all[0].3);
    let waiting = {
        let hub = hub.addr();
        std::thread::spawn(move || pull(std::ptr::without_provenance_mut(hub), stream, FANFARE_FOREVER))
    };
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(unsafe { fanfare_close_stream(hub, stream, null_mut()) }, FANFARE_OK);
    assert_eq!(waiting.join().expect("no panic"), (stale(), Vec::new()));
    stop(&mut hub);
}

#[test]
fn the_host_decides_about_requests() {
    let mut hub = start_asking(&[("timeouts.authorize", "60s")], FANFARE_ACTION_PUBLISH);
    let url = unsafe { CStr::from_ptr(fanfare_url(hub)) }.to_str().expect("ASCII").to_owned();
    let address = url.strip_prefix("http://").expect("plain").to_owned();
    let post = |data: &'static str| {
        let address = address.clone();
        std::thread::spawn(move || {
            let mut socket = TcpStream::connect(&address).expect("connect");
            let length = data.len();
            let head = format!(
                "POST /events/chat?retry=5 HTTP/1.1\r\nhost: {address}\r\nx-key: k\r\ncontent-length: {length}\r\n"
            );
            write!(socket, "{head}connection: close\r\n\r\n{data}").expect("request");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).expect("answer");
            answer
        })
    };
    for (decide, status) in [(true, "HTTP/1.1 200 "), (false, "HTTP/1.1 418 ")] {
        let posting = post("hello");
        assert_eq!(unsafe { fanfare_wait(hub, FANFARE_FOREVER, null_mut()) }, FANFARE_OK);
        let (mut batch, mut all, mut count) = (null_mut(), null(), 0);
        let id = unsafe {
            fanfare_drain(hub, &raw mut batch, null_mut());
            fanfare_batch_items(batch, size_of::<fanfare_item>(), &raw mut all, &raw mut count, null_mut());
            let item = &*all;
            assert_eq!((count, item.kind), (1, FANFARE_ITEM_REQUEST));
            let request = &*item.request;
            assert_eq!(request.action, FANFARE_ACTION_PUBLISH);
            assert_eq!((shown(request.method), shown(request.path)), ("POST".into(), "/events/chat".into()));
            assert_eq!(
                (shown(request.query), shown(request.address)),
                ("retry=5".into(), "127.0.0.1".into())
            );
            assert_eq!(shown(*request.topics), "chat");
            let headers = std::slice::from_raw_parts(request.headers, request.headers_len);
            assert!(headers.iter().any(|h| shown(h.name) == "x-key" && shown(h.value) == "k"));
            let id = item.handle;
            fanfare_batch_free(&raw mut batch);
            id
        };
        unsafe {
            let status = fanfare_reject(hub, id, 200, text("no"), null_mut());
            assert_eq!(CStr::from_ptr(fanfare_code_name(status)), c"invalid_parameter", "and it still waits");
            let done = match decide {
                true => fanfare_accept(hub, id, null(), null_mut()),
                false => fanfare_reject(hub, id, 418, text("short and stout"), null_mut()),
            };
            assert_eq!(done, FANFARE_OK);
            assert_eq!(fanfare_accept(hub, id, null(), null_mut()), stale());
        }
        let answer = posting.join().expect("no panic");
        assert!(answer.starts_with(status), "{answer}");
        assert!(decide || answer.contains("short and stout"), "{answer}");
    }
    // Nobody decides about this one: the stop refuses it.
    let posting = post("late");
    assert_eq!(unsafe { fanfare_wait(hub, FANFARE_FOREVER, null_mut()) }, FANFARE_OK);
    stop(&mut hub);
    let answer = posting.join().expect("no panic");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[test]
fn stopping_tells_everybody_once() {
    let mut hub = start(&[]);
    let topics = [text("chat")];
    let reader = subscribe(hub, &options(&topics));
    drain(hub);
    let (wanted, mut stream) = (options(&topics), 0);
    assert_eq!(
        unsafe { fanfare_open_stream(hub, &raw const wanted, &raw mut stream, null_mut()) },
        FANFARE_OK
    );
    pull(hub, stream, 0);
    drain(hub);
    let mut report: fanfare_stop_report = zeroed();
    report.size = size_of::<fanfare_stop_report>();
    assert_eq!(unsafe { fanfare_stop(hub, FANFARE_STOP_DEFAULT, &raw mut report, null_mut()) }, FANFARE_OK);
    let stopping = unsafe { fanfare_code_number(c"stopping".as_ptr()) };
    let (_, all) = drain(hub);
    assert!(all.contains(&(FANFARE_ITEM_END, stopping, reader, String::new())), "{all:?}");
    let (status, all) = pull(hub, stream, 0);
    assert_eq!(all.last().map(|item| (item.0, item.2)), Some((FANFARE_ITEM_END, stream)), "{status}");
    assert_eq!(drain(hub), (FANFARE_AGAIN, Vec::new()));
    assert_eq!(unsafe { fanfare_wait(hub, FANFARE_FOREVER, null_mut()) }, stopping);
    let mut event: fanfare_event = zeroed();
    (event.size, event.topic) = (size_of::<fanfare_event>(), text("chat"));
    assert_eq!(unsafe { fanfare_publish(hub, &raw const event, null_mut(), null_mut()) }, stopping);
    let copy = hub;
    unsafe { fanfare_free(&raw mut hub) };
    assert_eq!(unsafe { fanfare_publish(copy, &raw const event, null_mut(), null_mut()) }, stale());
}
