//! Event handlers through the exported functions. A build without handlers (`cargo test -p fanfare-ffi`) refuses them by name; that
//! of the workspace has them, and runs one.
#![allow(clippy::undocumented_unsafe_blocks, reason = "every call below keeps the contract of the header")]

use std::ffi::CStr;
use std::ptr::null_mut;

use ::fanfare_hub::HANDLERS;
use ::fanfare_hub::engine::Code;
use fanfare::*;

/// A core module: drops events whose data has four bytes, passes the others.
///
/// ```text
/// (module
///   (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
///   (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
///     (i32.store8 (i32.const 0) (i32.eq (local.get 9) (i32.const 4)))
///     (i32.const 0))
///   (memory (export "memory") 1))
/// ```
const DROPS_FOUR_BYTES: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x17\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x0a\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x01\x7f\
    \x03\x03\x02\0\x01\
    \x05\x03\x01\0\x01\
    \x07\x25\x03\x06memory\x02\0\x0ccabi_realloc\0\0\x09transform\0\x01\
    \x0a\x16\x02\x05\0\x41\x80\x08\x0b\x0e\0\x41\0\x20\x09\x41\x04\x46\x3a\0\0\x41\0\x0b";

fn view(bytes: &[u8]) -> fanfare_str {
    fanfare_str { ptr: bytes.as_ptr().cast(), len: bytes.len() }
}

fn sized<T>(size: usize) -> T {
    let mut value: T = unsafe { std::mem::zeroed() };
    unsafe { (&raw mut value).cast::<usize>().write(size) };
    value
}

fn error() -> fanfare_error {
    sized(size_of::<fanfare_error>())
}

fn message(error: &fanfare_error) -> String {
    unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned()
}

fn start(options: &[(&CStr, &CStr)]) -> (fanfare_status, *mut fanfare_hub, fanfare_error) {
    let (mut config, mut hub, mut error) = (null_mut(), null_mut(), error());
    unsafe {
        assert_eq!(fanfare_config_new(FANFARE_ABI_VERSION, &raw mut config, null_mut()), FANFARE_OK);
        for (key, value) in [(c"listen", c"127.0.0.1:0")].iter().chain(options) {
            let status = fanfare_config_set(config, key.as_ptr(), value.as_ptr(), &raw mut error);
            assert_eq!(status, FANFARE_OK, "{}", message(&error));
        }
        let status = fanfare_start(config, &raw mut hub, &raw mut error);
        fanfare_config_free(&raw mut config);
        (status, hub, error)
    }
}

fn handler(topics: &str, name: &str, bytes: &[u8]) -> fanfare_handler {
    let mut handler: fanfare_handler = sized(size_of::<fanfare_handler>());
    handler.topics = view(topics.as_bytes());
    handler.name = view(name.as_bytes());
    handler.bytes = view(bytes);
    handler
}

fn load(hub: *mut fanfare_hub, handler: &fanfare_handler) -> Result<String, (fanfare_status, String)> {
    let (mut info, mut error) = (sized::<fanfare_handler_info>(size_of::<fanfare_handler_info>()), error());
    match unsafe { fanfare_load_handler(hub, handler, &raw mut info, &raw mut error) } {
        FANFARE_OK => Ok(name(&info)),
        status => Err((status, message(&error))),
    }
}

fn name(info: &fanfare_handler_info) -> String {
    let name = unsafe { CStr::from_ptr(info.name.as_ptr()) }.to_str().expect("UTF-8").to_owned();
    assert_eq!(name.len(), info.name_len as usize);
    name
}

fn list(hub: *mut fanfare_hub) -> Vec<fanfare_handler_info> {
    let (mut infos, mut count) = ([sized(size_of::<fanfare_handler_info>()); 4], 0);
    let status =
        unsafe { fanfare_get_handlers(hub, infos.as_mut_ptr(), infos.len(), &raw mut count, null_mut()) };
    assert_eq!(status, FANFARE_OK);
    infos[..count].to_vec()
}

/// How many events this became.
fn publish(hub: *mut fanfare_hub, topic: &str, data: &str) -> u32 {
    let mut event: fanfare_event = sized(size_of::<fanfare_event>());
    event.topic = view(topic.as_bytes());
    event.data = view(data.as_bytes());
    let mut done: fanfare_published = sized(size_of::<fanfare_published>());
    assert_eq!(unsafe { fanfare_publish(hub, &raw const event, &raw mut done, null_mut()) }, FANFARE_OK);
    done.events
}

fn unload(hub: *mut fanfare_hub, name: &str) -> fanfare_status {
    unsafe { fanfare_unload_handler(hub, view(name.as_bytes()), null_mut()) }
}

#[test]
fn a_handler_comes_and_goes_or_is_not_in_this_build() {
    let (status, mut hub, _) = start(&[]);
    assert_eq!(status, FANFARE_OK);
    let loaded = load(hub, &handler("votes*", "four", DROPS_FOUR_BYTES));
    if HANDLERS {
        assert_eq!(loaded.as_deref(), Ok("four"));
        assert_eq!(load(hub, &handler("other", "four", DROPS_FOUR_BYTES)).as_deref(), Ok("four-2"));
        let (code, text) = load(hub, &handler("votes*", "broken", b"no module")).expect_err("refused");
        assert_eq!(code, Code::InvalidConfig.number());
        assert!(text.contains("broken"), "{text}");
        assert_eq!((publish(hub, "votes/1", "pass it"), publish(hub, "votes/2", "four")), (1, 0));
        assert_eq!((publish(hub, "elsewhere", "four"), publish(hub, "votes", "four")), (1, 0));
        let infos = list(hub);
        assert_eq!(infos.iter().map(name).collect::<Vec<_>>(), ["four", "four-2"]);
        assert_eq!((infos[0].calls, infos[0].passed, infos[0].dropped, infos[0].faults), (3, 1, 2, 0));
        assert_eq!(unsafe { CStr::from_ptr(infos[0].topics.as_ptr()) }, c"votes*");
        assert_eq!((infos[1].calls, infos[1].topics_len), (0, 5));
        assert_eq!((unload(hub, "four"), unload(hub, "four")), (FANFARE_OK, FANFARE_AGAIN));
        assert_eq!((publish(hub, "votes/3", "four"), list(hub).len()), (1, 1));
        // One of a size that nobody has: said with its place, and nothing is written.
        let (mut small, mut count) = ([sized::<fanfare_handler_info>(64); 1], 7);
        let status = unsafe { fanfare_get_handlers(hub, small.as_mut_ptr(), 1, &raw mut count, null_mut()) };
        assert_eq!((status, count), (Code::InvalidParameter.number(), 7));
    } else {
        let (code, text) = loaded.expect_err("refused");
        assert_eq!(code, Code::Unsupported.number());
        assert!(text.contains("without event handlers"), "{text}");
        assert_eq!((publish(hub, "votes/2", "four"), unload(hub, "four")), (1, FANFARE_AGAIN));
        assert!(list(hub).is_empty());
    }
    assert_eq!(unsafe { fanfare_stop(hub, 0, null_mut(), null_mut()) }, FANFARE_OK);
    assert_eq!(
        load(hub, &handler("t", "late", DROPS_FOUR_BYTES)).expect_err("stopped").0,
        Code::Stopping.number()
    );
    assert_eq!((unload(hub, "four-2"), list(hub).len()), (Code::Stopping.number(), 0));
    unsafe { fanfare_free(&raw mut hub) };
}

#[test]
fn a_configuration_names_handlers_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("drop.wasm");
    std::fs::write(&file, DROPS_FOUR_BYTES).expect("written");
    let value = std::ffi::CString::new(format!("votes={}", file.display())).expect("text");
    let (status, mut hub, error) = start(&[(c"handlers", &value)]);
    if HANDLERS {
        assert_eq!(status, FANFARE_OK, "{}", message(&error));
        assert_eq!(
            (list(hub).iter().map(name).collect::<Vec<_>>(), publish(hub, "votes", "four")),
            (vec!["drop".to_owned()], 0)
        );
        let mut from_file: fanfare_handler = sized(size_of::<fanfare_handler>());
        from_file.topics = view(b"t");
        let path = file.display().to_string();
        from_file.file = view(path.as_bytes());
        assert_eq!(load(hub, &from_file).as_deref(), Ok("drop-2"));
        // A caller that was built before there were settings; and one that gives some.
        let before = fanfare_handler { size: std::mem::offset_of!(fanfare_handler, settings), ..from_file };
        assert_eq!(load(hub, &before).as_deref(), Ok("drop-3"));
        from_file.topics = view(b"u");
        from_file.settings = view(b"event=vote;time=20ms");
        assert_eq!(load(hub, &from_file).as_deref(), Ok("drop-4"));
        assert_eq!((publish(hub, "t", "four"), publish(hub, "u", "four")), (0, 1), "of no type that it sees");
        from_file.settings = view(b"tiem=20ms");
        let (code, text) = load(hub, &from_file).expect_err("no setting");
        assert_eq!(code, Code::InvalidConfig.number());
        assert!(text.contains("tiem=20ms") && text.contains("is no setting of a handler"), "{text}");
        unsafe { fanfare_free(&raw mut hub) };
    } else {
        assert_eq!(status, Code::Unsupported.number(), "{}", message(&error));
        assert!(message(&error).contains("drop.wasm") && hub.is_null());
    }
}
