//! Compiled code that is kept: found again, and never believed without its seal.
#![cfg(all(unix, feature = "wasm-jit"))]

mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use fanfare_engine::{Fault, Verdict};
use fanfare_wasi_host::{Config, Origin, Runtime, WasmHandler};
use support::exchange::says;
use support::*;

const SCRIPT: &[u8] = b"export function transform(event) { return event.data + '!'; }";

/// A folder for a cache, which the cache makes.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("below").join("cache")
    }

    fn config(&self) -> Config {
        Config { cache_dir: Some(self.path()), ..Config::default() }
    }

    /// Loads as a new process would: where its code is from.
    fn load(&self, bytes: &[u8]) -> (Origin, WasmHandler) {
        let runtime = Runtime::configured(&self.config()).expect("a usable folder");
        let handler = WasmHandler::new(&runtime, "guest", bytes, &Config::default()).expect("sound");
        (handler.about().origin, handler)
    }

    fn origin(&self, bytes: &[u8]) -> Origin {
        self.load(bytes).0
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.path()).expect("the folder").map(|file| file.expect("a file").path());
        let mut files: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
        files.sort();
        files
    }

    /// The only entry.
    fn entry(&self) -> PathBuf {
        let mut entries = self.files(".code");
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }
}

fn data(answer: Result<Verdict, Fault>) -> String {
    match answer {
        Ok(Verdict::Replace(made)) => made.data.into_owned(),
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").mode() & 0o7777
}

/// What it takes that the folder cannot be used.
fn refused(folder: &Path) -> String {
    let config = Config { cache_dir: Some(folder.to_owned()), ..Config::default() };
    Runtime::configured(&config).expect_err("not usable").to_string()
}

#[test]
fn what_was_compiled_once_is_found_again_and_does_the_same() {
    let folder = Folder::new();
    for bytes in [says('a'), wasm_component(), SCRIPT.to_vec()] {
        let (first, compiled) = folder.load(&bytes);
        let (second, cached) = folder.load(&bytes);
        assert_eq!((first, second), (Origin::Compiled, Origin::Cached));
        assert_eq!(call(&compiled, "x"), call(&cached, "x"));
        assert_eq!(compiled.about().exports, cached.about().exports);
        assert_eq!(compiled.about().core_module, cached.about().core_module);
    }
    assert_eq!(folder.files(".code").len(), 3);
    assert_eq!(folder.files("").len(), 4, "and the secret, and nothing that is not whole");
    // One engine for all scripts.
    let other = b"export function transform() { return 'other'; }";
    let (origin, handler) = folder.load(other);
    assert_eq!((origin, data(call(&handler, "x")).as_str()), (Origin::Cached, "other"));
    assert_eq!(folder.origin(&says('b')), Origin::Compiled, "another module is another entry");
}

/// A module as a component.
fn wasm_component() -> Vec<u8> {
    let module = pass();
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("handler.wit", fanfare_wasi_host::WIT).expect("the contract");
    let world = resolve.select_world(&[package], Some("handler")).expect("its world");
    let mut described = module;
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut described, &resolve, world, encoding).expect("described");
    let encoder = wit_component::ComponentEncoder::default().module(&described).expect("a module");
    encoder.validate(true).encode().expect("a component")
}

#[test]
fn a_reload_uses_and_fills_it() {
    let folder = Folder::new();
    let (_, handler) = folder.load(&says('a'));
    handler.reload(&says('b')).expect("sound");
    assert_eq!(handler.about().origin, Origin::Compiled);
    handler.reload(&says('a')).expect("sound");
    assert_eq!(handler.about().origin, Origin::Cached);
    assert_eq!(data(call(&handler, "x")), "aa");
}

#[test]
fn nothing_but_ours_may_be_reached_by_others() {
    let folder = Folder::new();
    folder.load(&says('a'));
    assert_eq!(mode(&folder.path()), 0o700);
    for file in folder.files("") {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_folder_that_is_not_private_is_refused() {
    for open in [0o701, 0o710, 0o755, 0o777, 0o1777] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(open)).expect("ours");
        let error = refused(folder.path());
        assert!(error.contains("handler.cache_dir") && error.contains("not private"), "{open:o}: {error}");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0, "nothing was put there");
    }
}

/// Makes it somebody else's; false where we may not, because we are not root.
fn give_away(path: &Path) -> bool {
    chown(path, Some(65_533), None).is_ok()
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, user) = match give_away(folder.path()) {
        true => (folder.path(), 65_533),
        false => (Path::new("/"), 0),
    };
    let error = refused(path);
    assert!(error.contains(&format!("it belongs to user {user}, not to us")), "{error}");
}

#[test]
fn what_is_no_folder_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for path in [file.path().to_owned(), file.path().join("below")] {
        let error = refused(&path);
        assert!(error.contains("handler.cache_dir") && error.contains("cannot make it"), "{error}");
    }
}

/// That an entry, after `harm`, is not used, and that the next start finds a sound one in its place.
#[track_caller]
fn is_made_anew_after(what: &str, harm: impl FnOnce(&Folder, &Path)) {
    let folder = Folder::new();
    assert_eq!(folder.origin(&says('a')), Origin::Compiled);
    harm(&folder, &folder.entry());
    let (origin, handler) = folder.load(&says('a'));
    assert_eq!((origin, data(call(&handler, "x")).as_str()), (Origin::Compiled, "aa"), "{what}");
    let (origin, handler) = folder.load(&says('a'));
    assert_eq!(
        (origin, data(call(&handler, "x")).as_str()),
        (Origin::Cached, "aa"),
        "{what}: the next start"
    );
    assert!(folder.files("").iter().all(|file| !file.to_string_lossy().contains("part-")));
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let whole = |path: &Path| fs::read(path).expect("an entry");
    for length in [0, 7, 8, 16, 47, 48, 100, 4_096] {
        is_made_anew_after("cut off", |_, path| fs::write(path, &whole(path)[..length]).expect("written"));
    }
    is_made_anew_after("cut off at the end", |_, path| {
        let bytes = whole(path);
        fs::write(path, &bytes[..bytes.len() - 1]).expect("written");
    });
    for part in [0, 1, 4, 15] {
        is_made_anew_after("one bit", |_, path| {
            let mut bytes = whole(path);
            let at = bytes.len() * part / 16;
            bytes[at] ^= 1;
            fs::write(path, bytes).expect("written");
        });
    }
    is_made_anew_after("more than it was", |_, path| {
        fs::write(path, [whole(path), vec![0]].concat()).expect("written");
    });
    is_made_anew_after("noise", |_, path| fs::write(path, [0x5a; 5_000]).expect("written"));
}

#[test]
fn code_from_elsewhere_is_not_taken() {
    // The most that somebody can do who can put files there, and does not know the secret.
    is_made_anew_after("code as wasmtime writes it", |_, path| {
        let whole = fs::read(path).expect("an entry");
        let elf = whole.windows(4).position(|bytes| bytes == b"\x7fELF").expect("code");
        fs::write(path, &whole[elf..]).expect("written");
    });
    is_made_anew_after("another folder's entry of the same name", |_, path| {
        let other = Folder::new();
        other.load(&says('a'));
        assert_eq!(other.entry().file_name(), path.file_name());
        fs::copy(other.entry(), path).expect("copied");
    });
    is_made_anew_after("an entry of another name", |folder, path| {
        folder.load(&says('b'));
        let other = folder.files(".code").into_iter().find(|file| file != path).expect("two entries");
        fs::rename(other, path).expect("moved");
    });
    is_made_anew_after("a file that others may write", |_, path| {
        fs::set_permissions(path, Permissions::from_mode(0o666)).expect("ours");
    });
    is_made_anew_after("somebody else's file", |_, path| {
        if !give_away(path) {
            // Who is not root cannot make one; a link to one does.
            fs::remove_file(path).expect("ours");
            std::os::unix::fs::symlink("/etc/passwd", path).expect("a link");
        }
    });
}

#[test]
fn what_is_no_file_is_no_obstacle() {
    let folder = Folder::new();
    folder.load(&says('a'));
    let entry = folder.entry();
    fs::remove_file(&entry).expect("ours");
    fs::create_dir(&entry).expect("a folder in its place");
    assert_eq!(folder.origin(&says('a')), Origin::Compiled);
    assert_eq!(folder.origin(&says('a')), Origin::Compiled, "and nothing could be kept");
}

#[test]
fn another_secret_makes_all_entries_worthless() {
    is_made_anew_after("a secret that was cut off", |folder, _| {
        fs::write(folder.path().join("secret"), "short").expect("written");
    });
    is_made_anew_after("no secret", |folder, _| {
        fs::remove_file(folder.path().join("secret")).expect("removed");
    });
    let folder = Folder::new();
    folder.load(&says('a'));
    fs::set_permissions(folder.path().join("secret"), Permissions::from_mode(0o640)).expect("ours");
    let error = refused(&folder.path());
    assert!(error.contains("cannot use its secret: it is not private"), "{error}");
}

#[test]
fn a_hub_works_on_when_nothing_can_be_written() {
    let folder = Folder::new();
    let runtime = Runtime::configured(&folder.config()).expect("a usable folder");
    let load = |bytes: &[u8]| WasmHandler::new(&runtime, "guest", bytes, &Config::default()).expect("sound");
    load(&says('a'));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).expect("ours");
    assert_eq!(load(&says('a')).about().origin, Origin::Cached, "what is there is used");
    assert_eq!(data(call(&load(&says('b')), "x")), "bb");
    // Root may write all the same; without the folder nobody can.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("ours");
    fs::remove_dir_all(folder.path()).expect("removed");
    for letter in ['a', 'c'] {
        let handler = load(&says(letter));
        assert_eq!(handler.about().origin, Origin::Compiled);
        assert_eq!(data(call(&handler, "x")), format!("{letter}{letter}"));
    }
}

#[test]
fn what_was_not_used_for_longest_is_let_go() {
    let folder = Folder::new();
    folder.load(&says('a'));
    let size = fs::metadata(folder.entry()).expect("there").len();
    // Room for three and a half.
    let config = Config { cache_bytes: size * 7 / 2, ..folder.config() };
    let origin = |letter: char| {
        let runtime = Runtime::configured(&config).expect("a usable folder");
        WasmHandler::new(&runtime, "guest", &says(letter), &Config::default()).expect("sound").about().origin
    };
    let age = |hours: u64| {
        let past = SystemTime::now() - Duration::from_secs(3_600 * hours);
        for file in folder.files(".code") {
            let file = File::options().write(true).open(file).expect("an entry");
            let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            if SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|since| since < Duration::from_secs(1_800))
            {
                file.set_modified(past).expect("ours");
            }
        }
    };
    age(9);
    assert_eq!(origin('b'), Origin::Compiled);
    age(8);
    assert_eq!(origin('c'), Origin::Compiled);
    age(7);
    assert_eq!(origin('a'), Origin::Cached, "and used now");
    let abandoned = folder.path().join("part-1-2-3");
    let recent = folder.path().join("part-4-5-6");
    for part in [&abandoned, &recent] {
        fs::write(part, "half").expect("written");
    }
    let file = File::options().write(true).open(&abandoned).expect("ours");
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).expect("ours");
    assert_eq!(origin('d'), Origin::Compiled);
    assert_eq!(folder.files(".code").len(), 3);
    assert!(!abandoned.exists() && recent.exists(), "only what nobody writes any more");
    assert_eq!([origin('a'), origin('c'), origin('d')], [Origin::Cached; 3]);
    assert_eq!(origin('b'), Origin::Compiled, "it was not used for longest");
    let total: u64 = folder.files(".code").iter().map(|file| fs::metadata(file).expect("there").len()).sum();
    assert!(total <= config.cache_bytes, "{total}");
}

#[test]
fn it_can_be_turned_off_and_too_small() {
    for cache_bytes in [0, 100] {
        let folder = Folder::new();
        let config = Config { cache_bytes, ..folder.config() };
        for _ in 0..2 {
            let runtime = Runtime::configured(&config).expect("usable");
            let handler = WasmHandler::new(&runtime, "guest", &says('a'), &Config::default()).expect("sound");
            assert_eq!(handler.about().origin, Origin::Compiled);
        }
        match cache_bytes {
            0 => assert!(!folder.path().exists()),
            _ => assert!(folder.files(".code").is_empty()),
        }
    }
}

#[test]
fn many_at_once_share_a_folder() {
    const TOGETHER: usize = 8;
    let folder = Folder::new();
    let start = Barrier::new(TOGETHER);
    thread::scope(|scope| {
        for number in 0..TOGETHER {
            let (folder, start) = (&folder, &start);
            scope.spawn(move || {
                start.wait();
                for letter in ['a', 'b', 'c'] {
                    let (_, handler) = folder.load(&says(letter));
                    let expected = format!("{letter}{letter}");
                    assert_eq!(data(call(&handler, "x")), expected, "{number}");
                }
            });
        }
    });
    assert_eq!(folder.files(".code").len(), 3);
    assert_eq!(folder.files("").len(), 4);
    for letter in ['a', 'b', 'c'] {
        assert_eq!(folder.origin(&says(letter)), Origin::Cached);
    }
}
