//! Installing what the checks need, by package name, and only what is missing.
//!
//! Every function here first looks whether the thing is there and then does nothing. System packages come
//! from apt, as root or through sudo; Python packages go into an environment of their own in the target
//! directory; Node packages go beside the suite that asks for them. Nothing is installed for the user.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::files;
use crate::run::{Program, find_command, say};
use crate::rust_target::{self, WASM};

/// A system package and the commands any one of which shows that it is there.
struct Package {
    name: &'static str,
    commands: &'static [&'static str],
}

/// The browser of the end-to-end suites, by the names it goes by.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

const SYSTEM: &[Package] = &[
    Package { name: "chromium", commands: BROWSERS },
    // The example handlers in C are built by the tests.
    Package { name: "clang", commands: &["clang"] },
    Package { name: "lld", commands: &["wasm-ld"] },
    Package { name: "curl", commands: &["curl"] },
    Package { name: "openssl", commands: &["openssl"] },
    // The library of the same name comes with it: clocks that jump.
    Package { name: "faketime", commands: &["faketime"] },
    Package { name: "g++", commands: &["c++"] },
    Package { name: "cmake", commands: &["cmake"] },
    Package { name: "make", commands: &["make"] },
    Package { name: "pkg-config", commands: &["pkg-config"] },
    Package { name: "valgrind", commands: &["valgrind"] },
    // The order of writing, syncing and answering.
    Package { name: "strace", commands: &["strace"] },
    // Debian puts it where only root's PATH looks.
    Package { name: "nginx-light", commands: &["nginx", "/usr/sbin/nginx"] },
];

/// The version of NATS.
const NATS: &str = "2.12.2";

/// What the benches need on top: peers.
const BENCH: &[Package] = &[
    Package { name: "nginx-light", commands: &["nginx", "/usr/sbin/nginx"] },
    Package { name: "libnginx-mod-nchan", commands: &["/usr/lib/nginx/modules/ngx_nchan_module.so"] },
    Package { name: "redis-server", commands: &["redis-server"] },
];

/// Folder of the benches' Node peers, with their `package.json`.
const BENCH_NODE: &str = "benches/peers/node";
/// What the benches' Python peers run on.
const BENCH_PYTHON: &str = "benches/peers/python/requirements.txt";
/// The environment of the benches' Python peers in the target directory.
const BENCH_VENV: &str = "bench-venv";

/// Folder of the Python suites, with their `requirements.txt`.
pub(crate) const PYTHON_SUITES: &str = "tests/python";
/// Folder of the Node suites, with their `package.json`.
pub(crate) const NODE_SUITES: &str = "tests/node";
/// Folder of the Node binding, with its `package.json`.
pub(crate) const NODE_BINDING: &str = "bindings/node";

/// Folder of the example applications, with their `package.json`.
pub(crate) const EXAMPLES: &str = "examples";

/// Where Debian's package rustc-web puts its compiler, and rust-web-src what that compiler's standard library is made of.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_RUST_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";

/// Everything that `test` needs.
pub(crate) fn everything() -> Result<()> {
    system(SYSTEM)?;
    if files::root().join(PYTHON_SUITES).is_dir() {
        python()?;
    }
    for folder in [NODE_SUITES, NODE_BINDING, EXAMPLES] {
        if files::root().join(folder).is_dir() {
            node(folder)?;
        }
    }
    Ok(())
}

/// A program that Go installs, in a folder of its own.
pub(crate) fn by_go(name: &str, package: &str, folder: &Path) -> Result<PathBuf> {
    let tool = folder.join(name);
    if tool.is_file() {
        return Ok(tool);
    }
    if find_command("go").is_none() {
        bail!(
            "{name} is installed by Go, which is not on PATH: install Go 1.21 or later (Debian: golang-go)"
        );
    }
    Program::new("go").args(["install", package]).env("GOBIN", folder).run()?;
    if !tool.is_file() {
        bail!("`go install` made no {}", tool.display());
    }
    Ok(tool)
}

/// NATS, a peer of the load bench; Debian's knows no sync before each answer. `None` without Go.
pub(crate) fn nats() -> Result<Option<PathBuf>> {
    if find_command("go").is_none() {
        say("    NATS is left out: it is installed by Go, which is not on PATH");
        return Ok(None);
    }
    let package = format!("github.com/nats-io/nats-server/v2@v{NATS}");
    by_go("nats-server", &package, &files::target().join(format!("nats-{NATS}"))).map(Some)
}

/// What the load bench compares with.
pub(crate) fn peers() -> Result<()> {
    system(BENCH)?;
    python_packages(BENCH_VENV, BENCH_PYTHON)?;
    node(BENCH_NODE)
}

/// Puts a package of this repository among the Node peers' own.
pub(crate) fn link_for_peers(name: &str, package: &str) -> Result<()> {
    let link = files::root().join(BENCH_NODE).join("node_modules").join(name);
    let package = files::root().join(package);
    match fs::read_link(&link) {
        Ok(there) if there == package => return Ok(()),
        Ok(_) => fs::remove_file(&link)?,
        Err(_) => {}
    }
    std::os::unix::fs::symlink(&package, &link)
        .with_context(|| format!("cannot link {} to {}", link.display(), package.display()))
}

/// The interpreter of the Python peers.
pub(crate) fn python_of_peers() -> PathBuf {
    interpreter(BENCH_VENV)
}

/// The cargo tools that `ci` needs on top.
pub(crate) fn components() -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if Program::cargo().args([subcommand, "--version"]).works() {
            say(&format!("    {component}: there"));
        } else if find_command("rustup").is_some() {
            Program::new("rustup").args(["component", "add", component]).run()?;
        } else {
            bail!("`cargo {subcommand}` does not run and there is no rustup to install {component} with");
        }
    }
    Ok(())
}

/// Path of the browser for the suites.
pub(crate) fn browser() -> Result<PathBuf> {
    let found = BROWSERS.iter().find_map(|name| find_command(name));
    found.context("no Chromium on PATH; `cargo xtask install-deps` installs it")
}

/// The interpreter of the suites' Python environment.
pub(crate) fn python_in_venv() -> PathBuf {
    interpreter("venv")
}

/// The interpreter of the Python environment of that name in the target directory.
pub(crate) fn interpreter(venv: &str) -> PathBuf {
    files::target().join(venv).join("bin/python")
}

fn system(wanted: &[Package]) -> Result<()> {
    let missing = missing_packages(wanted);
    if missing.is_empty() {
        say("    system packages: all there");
        return Ok(());
    }
    apt_install(&missing)?;
    let still = missing_packages(wanted);
    if !still.is_empty() {
        bail!("apt installed {}, but the command is not on PATH", still.join(", "));
    }
    Ok(())
}

fn missing_packages(wanted: &[Package]) -> Vec<&'static str> {
    let is_there = |package: &&Package| package.commands.iter().any(|name| find_command(name).is_some());
    wanted.iter().filter(|package| !is_there(package)).map(|package| package.name).collect()
}

fn apt_install(packages: &[&str]) -> Result<()> {
    if find_command("apt-get").is_none() {
        bail!(
            "please install {}: this machine has no apt-get, so it cannot be done from here",
            packages.join(", ")
        );
    }
    let apt = |args: &[&str]| -> Result<Program> {
        // `env` carries the settings through sudo, which drops the environment. In run level 1 no service is started:
        // the tests start nginx themselves, on loopback.
        let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q"];
        let patient = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"];
        let program = if is_root()? {
            Program::new("env").args(&quiet[1..])
        } else if find_command("sudo").is_some() {
            // `-n`: a password prompt nobody sees would hang a job for ever.
            Program::new("sudo").args(["-n"]).args(quiet)
        } else {
            bail!("please install {} as root: there is no sudo here", packages.join(", "));
        };
        Ok(program.args(patient).args(args))
    };
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].iter().chain(packages).copied().collect();
    // A fresh machine has no package lists; one that has them may not need the update.
    if !has_package_lists() || apt(&install)?.run().is_err() {
        apt(&["update"])?.run()?;
        apt(&install)?.run()?;
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    Ok(Program::new("id").args(["-u"]).output()?.trim() == "0")
}

fn has_package_lists() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists");
    lists.is_ok_and(|lists| {
        lists.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn python() -> Result<()> {
    python_packages("venv", &format!("{PYTHON_SUITES}/requirements.txt"))
}

/// Makes the Python environment of that name in the target directory, with the packages that a file of the project lists.
pub(crate) fn python_packages(name: &str, requirements: &str) -> Result<()> {
    let file = files::root().join(requirements);
    let wanted = files::read(&file)
        .with_context(|| format!("{requirements} has to list the packages, pytest for tests"))?;
    let python = interpreter(name);
    let venv = files::target().join(name);
    if !Program::new(&python).args(["-c", "import pip"]).works() {
        if find_command("python3").is_none() {
            apt_install(&["python3", "python3-venv"])?;
        } else if !Program::new("python3").args(["-c", "import ensurepip, venv"]).works() {
            apt_install(&["python3-venv"])?;
        }
        Program::new("python3").args(["-m", "venv", "--clear"]).args([&venv]).run()?;
    }
    let stamp = venv.join("installed.txt");
    if is_fresh(&stamp, &wanted) {
        say("    python packages: all there");
        return Ok(());
    }
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--retries",
        "5",
        "-r",
    ];
    Program::new(&python).args(pip).args([&file]).run()?;
    write_stamp(&stamp, &wanted)
}

/// Rust for WebAssembly without a system, as variables for a cargo that builds for it: none where the Rust that builds the
/// project has the target, or rustup brings it. Elsewhere Debian's newest Rust makes the standard library from its source.
pub(crate) fn rust_for_wasm() -> Result<Vec<(&'static str, &'static str)>> {
    if rust_target::is_there(WASM)? {
        say(&format!("    rust for {WASM}: there"));
        return Ok(Vec::new());
    }
    let debian = || Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_RUST_SOURCE).is_dir();
    // Asked once: where rustup has no way to its server, Debian's packages are there from then on.
    if !debian() && find_command("rustup").is_some() {
        let added = Program::new("rustup").args(["target", "add", WASM]).works();
        if added && rust_target::is_there(WASM)? {
            say(&format!("    rust for {WASM}: installed by rustup"));
            return Ok(Vec::new());
        }
    }
    if !debian() {
        apt_install(&["rustc-web", "rust-web-src"])?;
    }
    if !debian() {
        bail!(
            "{WASM} needs `rustup target add {WASM}`; the packages rustc-web and rust-web-src do not do here"
        );
    }
    say(&format!("    rust for {WASM}: its standard library is built from source"));
    Ok(vec![
        ("RUSTC", DEBIAN_RUSTC),
        // It is a stable compiler, and building the standard library is not.
        ("RUSTC_BOOTSTRAP", "1"),
        ("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort"),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld"),
    ])
}

/// Installs what the `package.json` of a folder asks for, beside it.
pub(crate) fn node(folder: &str) -> Result<()> {
    if find_command("npm").is_none() {
        bail!("{folder} needs Node 20 or later with npm; please install it");
    }
    let dir = files::root().join(folder);
    let manifest = dir.join("package.json");
    if !manifest.is_file() {
        // Suites on Node's own modules need nothing installed.
        say(&format!("    {folder}: no node packages asked for"));
        return Ok(());
    }
    let lock = dir.join("package-lock.json");
    let mut wanted = files::read(&manifest)?;
    if lock.is_file() {
        wanted.push_str(&files::read(&lock)?);
    }
    let stamp = dir.join("node_modules/.installed.txt");
    if is_fresh(&stamp, &wanted) {
        say(&format!("    {folder}: node packages all there"));
        return Ok(());
    }
    let command: &[&str] = if lock.is_file() { &["ci"] } else { &["install", "--no-package-lock"] };
    Program::new("npm")
        .args(command)
        .args(["--no-audit", "--no-fund", "--loglevel=error"])
        .dir(folder)
        // The browser is the system's Chromium; nothing should download another.
        .env("PUPPETEER_SKIP_DOWNLOAD", "1")
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
        .run()?;
    fs::create_dir_all(dir.join("node_modules"))?;
    write_stamp(&stamp, &wanted)
}

/// Whether the last complete install was for exactly this text.
fn is_fresh(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted)
}

fn write_stamp(stamp: &Path, wanted: &str) -> Result<()> {
    fs::write(stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
