//! C and C++: the tests of the C ABI, the examples, the contract suite's runners.
//!
//! A program is compiled against the header and linked with what cargo has built: with sanitisers (the library's debug build
//! as archive), plain (the release build), or to run under valgrind (the release build as shared library, without debug
//! information, which valgrind is slow to read).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::exports;
use crate::files;
use crate::run::{Program, say};
use crate::with_handlers;

/// What a Rust archive needs: `rustc --print native-static-libs`.
pub(crate) const STATIC_LIBS: &[&str] = &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];
/// Where the scenarios of all bindings are, and those for a library with event handlers.
pub(crate) const SCENARIOS: &str = "bindings/contract/scenarios";
pub(crate) const WITH_HANDLERS: &str = "bindings/contract/with_handlers";
/// Far above what a test takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(15 * 60);
const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// How a program is built and run.
#[derive(Clone, Copy, PartialEq)]
enum Build {
    /// With AddressSanitizer, its leak check, and UndefinedBehaviorSanitizer.
    Address,
    /// With ThreadSanitizer, which sees the C side.
    Thread,
    /// As users build it.
    Plain,
    /// Under valgrind.
    Valgrind,
}

impl Build {
    fn name(self) -> &'static str {
        match self {
            Build::Address => "address",
            Build::Thread => "thread",
            Build::Plain => "plain",
            Build::Valgrind => "valgrind",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Build::Address => &["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
            Build::Thread => &["-g", "-O1", "-fsanitize=thread"],
            Build::Plain => &["-O2"],
            Build::Valgrind => &["-g", "-O1"],
        }
    }

    fn is_static(self) -> bool {
        matches!(self, Build::Address | Build::Plain)
    }

    /// The folder of the libraries.
    fn libraries(self) -> PathBuf {
        files::target().join(match self {
            Build::Address | Build::Thread => "debug",
            Build::Plain | Build::Valgrind => "release",
        })
    }
}

/// How large the tests are, where it is not their default.
type Sizes = &'static [(&'static str, &'static str)];

/// Of a test that forks: what its children's lost threads held is no leak.
const FORKS: (&str, &str) = ("FORKS", "1");

const C_TESTS: &[(&str, Build, Sizes)] = &[
    ("api", Build::Address, &[]),
    ("ends", Build::Address, &[]),
    ("crowd", Build::Address, &[]),
    ("crowd", Build::Address, &[("CROWD", "10"), ("EVENTS", "10000")]),
    ("cycles", Build::Address, &[]),
    ("process", Build::Address, &[]),
    ("requests", Build::Address, &[]),
    ("threads", Build::Address, &[("RACE", "100000")]),
    ("misuse", Build::Address, &[]),
    ("threads", Build::Thread, &[("RACE", "100000")]),
    ("misuse", Build::Thread, &[]),
    ("crowd", Build::Plain, &[("EVENTS", "10000")]),
    ("cycles", Build::Plain, &[]),
    ("process", Build::Plain, &[]),
    ("threads", Build::Plain, &[]),
    ("api", Build::Valgrind, &[]),
    ("ends", Build::Valgrind, &[]),
    ("crowd", Build::Valgrind, &[("CROWD", "100"), ("EVENTS", "100")]),
    ("cycles", Build::Valgrind, &[]),
    ("process", Build::Valgrind, &[FORKS]),
    ("requests", Build::Valgrind, &[]),
    ("threads", Build::Valgrind, &[("RACE", "2000")]),
    ("misuse", Build::Valgrind, &[("CALLS", "5000")]),
];

/// A program, what it reads, and what it prints.
type Example = (&'static str, Option<&'static str>, &'static str);

const EXAMPLES: &[Example] = &[
    ("bindings/c/examples/hello.c", None, "bindings/c/examples/hello.txt"),
    ("bindings/c/examples/loop.c", Some("bindings/c/examples/loop.in"), "bindings/c/examples/loop.txt"),
    ("bindings/cpp/examples/hello.cpp", None, "bindings/cpp/examples/hello.txt"),
];

/// All of it.
pub(crate) fn test() -> Result<()> {
    // First, because what is built after it is what everything else looks at.
    let failing = build_failing()?;
    build_libraries()?;
    let faults = compile_with("bindings/c/tests/faults.c", "c11", Build::Address, &failing)?;
    run_test(&faults, Build::Address, &[("RUST_BACKTRACE", "0")])?;
    exports::check_library(&Build::Plain.libraries().join("libfanfare.so"))?;
    header()?;
    for (name, build, sizes) in C_TESTS {
        let program = compile(&format!("bindings/c/tests/{name}.c"), "c11", *build)?;
        run_test(&program, *build, sizes)?;
    }
    let wrapper = compile("bindings/cpp/tests/wrapper.cpp", "c++17", Build::Address)?;
    run_test(&wrapper, Build::Address, &[])?;
    // To the byte, and then in full.
    let crowd = compile("bindings/cpp/tests/crowd.cpp", "c++17", Build::Address)?;
    run_test(&crowd, Build::Address, &[])?;
    let crowd = compile("bindings/cpp/tests/crowd.cpp", "c++17", Build::Plain)?;
    run_test(&crowd, Build::Plain, &[("EVENTS", "10000")])?;
    loading()?;
    examples()
}

/// A thousand hubs one after the other, and a million random calls.
pub(crate) fn soak() -> Result<()> {
    build_libraries()?;
    let cycles = compile("bindings/c/tests/cycles.c", "c11", Build::Plain)?;
    run_test(&cycles, Build::Plain, &[("CYCLES", "1000")])?;
    for build in [Build::Address, Build::Thread] {
        let program = compile("bindings/c/tests/misuse.c", "c11", build)?;
        run_test(&program, build, &[("CALLS", "1000000")])?;
    }
    Ok(())
}

/// The runners of the contract suite in C and C++, with the names of their languages.
pub(crate) fn contract_runners() -> Result<Vec<(&'static str, PathBuf)>> {
    build_libraries()?;
    Ok(vec![
        ("C", compile("bindings/c/contract.c", "c99", Build::Address)?),
        ("C++", compile("bindings/cpp/contract.cpp", "c++17", Build::Address)?),
    ])
}

/// The same with event handlers.
pub(crate) fn contract_runners_with_handlers() -> Result<Vec<(&'static str, PathBuf)>> {
    let archive = with_handlers::library()?.join("libfanfare.a");
    let compile = |source, standard, name: &str| -> Result<PathBuf> {
        let program = compile_with(source, standard, Build::Plain, &archive)?;
        let kept = scratch()?.join(name);
        fs::rename(&program, &kept).with_context(|| format!("cannot rename {}", program.display()))?;
        Ok(kept)
    };
    Ok(vec![
        ("C", compile("bindings/c/contract.c", "c99", "contract-c-handlers")?),
        ("C++", compile("bindings/cpp/contract.cpp", "c++17", "contract-cpp-handlers")?),
    ])
}

/// The scenario files of a folder, sorted.
pub(crate) fn scenarios(folder: &str) -> Result<Vec<PathBuf>> {
    let below = |path: &PathBuf| path.starts_with(folder);
    let found: Vec<PathBuf> =
        files::project_files()?.into_iter().filter(below).map(|path| files::root().join(path)).collect();
    if found.is_empty() {
        bail!("no scenarios below {folder}");
    }
    Ok(found)
}

/// Both builds of the library.
pub(crate) fn build_libraries() -> Result<()> {
    for profile in [&[][..], &["--release"]] {
        Program::cargo().args(["build", "--locked", "-p", "fanfare-ffi"]).args(profile).run()?;
    }
    Ok(())
}

/// The library in which places fail when they are told to; no other build has that.
fn build_failing() -> Result<PathBuf> {
    Program::cargo().args(["build", "--locked", "-p", "fanfare-ffi", "--features", "failpoints"]).run()?;
    let (built, kept) =
        (Build::Address.libraries().join("libfanfare.a"), scratch()?.join("libfanfare-failing.a"));
    fs::copy(&built, &kept).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(kept)
}

/// The header by itself, in every language that includes it.
fn header() -> Result<()> {
    for standard in ["c99", "c11", "c17", "c++17"] {
        let program = compile("bindings/c/tests/layout.c", standard, Build::Plain)?;
        run_test(&program, Build::Plain, &[])?;
    }
    Ok(())
}

fn loading() -> Result<()> {
    let program = out("loading", Build::Plain)?;
    let source = files::root().join("bindings/c/tests/loading.c");
    Program::new("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", &include("include")])
        .args(WARNINGS)
        .args([&source])
        .args(["-o"])
        .args([&program])
        .args(["-ldl"])
        .run()?;
    Program::new(&program).args([Build::Plain.libraries().join("libfanfare.so")]).limit(LIMIT).run()
}

fn examples() -> Result<()> {
    EXAMPLES
        .iter()
        .try_for_each(|example| run_example(example, &Build::Plain.libraries().join("libfanfare.a")))
}

/// The first example, linked with this library.
pub(crate) fn hello(archive: &Path) -> Result<()> {
    run_example(&EXAMPLES[0], archive)
}

/// Compiles an example, and compares what it prints.
fn run_example((source, input, expected): &Example, archive: &Path) -> Result<()> {
    let standard = if source.ends_with(".cpp") { "c++17" } else { "c99" };
    let program = compile_with(source, standard, Build::Plain, archive)?;
    let printed = program.with_extension("txt");
    let mut run = Program::new(&program).output_to(&printed)?;
    if let Some(input) = input {
        run = run.input(files::root().join(input))?;
    }
    run.limit(LIMIT).run()?;
    let got = files::read(&printed)?;
    let wanted = files::read(&files::root().join(expected))?;
    if got != wanted {
        bail!("{source} prints\n{got}instead of {expected}:\n{wanted}");
    }
    Ok(())
}

fn run_test(program: &PathBuf, build: Build, sizes: Sizes) -> Result<()> {
    let mut run = match build {
        Build::Valgrind => Program::new("valgrind")
            .args([
                "-q",
                "--error-exitcode=99",
                if sizes.contains(&FORKS) { "--leak-check=no" } else { "--leak-check=full" },
            ])
            .args(["--show-leak-kinds=definite"])
            .args(["--errors-for-leak-kinds=definite", "--child-silent-after-fork=yes"])
            .args([program])
            .env("VALGRIND", "1"),
        _ => Program::new(program),
    };
    run = match build {
        Build::Address => run.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1"),
        // The library is not instrumented, so what it does in between is not looked at.
        Build::Thread => run.env("TSAN_OPTIONS", "ignore_noninstrumented_modules=1:halt_on_error=1"),
        _ => run,
    };
    if !build.is_static() {
        run = run.env("LD_LIBRARY_PATH", folder(build)?);
    }
    for (name, value) in sizes {
        run = run.env(name, value);
    }
    run.limit(LIMIT).run()
}

/// Compiles one program as users do.
pub(crate) fn compile_plain(source: &str) -> Result<PathBuf> {
    compile(source, "c11", Build::Plain)
}

/// Compiles and links one program.
fn compile(source: &str, standard: &str, build: Build) -> Result<PathBuf> {
    compile_with(source, standard, build, &build.libraries().join("libfanfare.a"))
}

/// The same with this archive, where it is linked statically.
fn compile_with(source: &str, standard: &str, build: Build, archive: &Path) -> Result<PathBuf> {
    let cpp = standard.starts_with("c++");
    let stem = source.rsplit('/').next().map_or(source, |name| name.split('.').next().unwrap_or(name));
    let program = out(&format!("{stem}-{standard}"), build)?;
    let mut compiler = Program::new(if cpp { "c++" } else { "cc" })
        .args([format!("-std={standard}"), include("include"), include("bindings/cpp/include")])
        .args(WARNINGS)
        .args(build.flags());
    if source.contains("/tests/") {
        compiler = compiler.args(["-D_GNU_SOURCE"]);
    }
    // The header's own test is both languages.
    let language: &[&str] = if cpp { &["-x", "c++"] } else { &[] };
    compiler = compiler.args(language).args([files::root().join(source)]);
    if cpp {
        compiler = compiler.args(["-x", "none"]);
    }
    compiler = compiler.args(["-o"]).args([&program]);
    if build.is_static() {
        compiler = compiler.args([archive]).args(STATIC_LIBS);
    } else {
        let folder = folder(build)?;
        compiler = compiler.args([format!("-L{}", folder.display())]).args(["-lfanfare", "-lpthread"]);
    }
    compiler.run()?;
    Ok(program)
}

fn include(folder: &str) -> String {
    format!("-I{}", files::root().join(folder).display())
}

/// Where a program goes.
fn out(name: &str, build: Build) -> Result<PathBuf> {
    Ok(scratch()?.join(format!("{name}-{}", build.name())))
}

/// What is built and printed here goes there.
pub(crate) fn scratch() -> Result<PathBuf> {
    let folder = files::target().join("native");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A folder with the shared library under the name by which programs look for it.
fn folder(build: Build) -> Result<PathBuf> {
    let folder = files::target().join("native").join(format!("lib-{}", build.name()));
    fs::create_dir_all(&folder)?;
    let built = build.libraries().join("libfanfare.so");
    let library = folder.join("libfanfare.so.0");
    if build == Build::Valgrind {
        Program::new("strip").args(["-o"]).args([&library, &built]).run()?;
    } else {
        fs::copy(&built, &library).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    let link = folder.join("libfanfare.so");
    if !link.exists() {
        std::os::unix::fs::symlink("libfanfare.so.0", &link)?;
    }
    say(&format!("    {} is {}", link.display(), built.display()));
    Ok(folder)
}
