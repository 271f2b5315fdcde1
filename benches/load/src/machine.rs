//! What a run ran on, and with what: nothing here can fail, what cannot be read is said to be unknown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use crate::server::Places;

/// Name and value of each line, for a table.
pub(crate) fn describe(places: &Places) -> Vec<(&'static str, String)> {
    let os = field("/etc/os-release", "PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned());
    let kernel = read("/proc/sys/kernel/osrelease").map(|text| format!("Linux {}", numbers(&text)));
    let memory = field("/proc/meminfo", "MemTotal:")
        .and_then(|text| text.trim_end_matches("kB").trim().parse::<u64>().ok())
        .map(|kib| format!("{:.1} GiB", kib as f64 / f64::from(1 << 20)));
    let cpu = field("/proc/cpuinfo", "model name").map(|name| name.trim_start_matches(':').trim().to_owned());
    let cores = available_parallelism().ok().map(|count| count.to_string());
    let load = read("/proc/loadavg").and_then(|text| Some(text.split_once(' ')?.0.to_owned()));
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let node = |package: &str| {
        let manifest = places.peers.join("node/node_modules").join(package).join("package.json");
        let text = fs::read_to_string(manifest).ok()?;
        Some(text.split_once("\"version\":")?.1.split('"').nth(1)?.to_owned())
    };
    let python = |package: &str| {
        let script = format!("import importlib.metadata as m; print(m.version('{package}'))");
        output(Command::new(&places.python).args(["-c", &script]))
    };
    let lines = [
        ("day", output(Command::new("date").args(["-u", "+%F"]))),
        ("processor", cpu),
        ("cores", cores),
        ("memory", memory),
        ("system", os),
        ("kernel", kernel),
        ("load of others at the start, one minute", load),
        ("fanfare", output(Command::new(places.bin.join("fanfare")).arg("--version"))),
        ("commit", output(Command::new("git").args(["describe", "--always", "--dirty"]))),
        ("rustc", output(Command::new("rustc").arg("--version"))),
        ("axum", locked("axum")),
        ("tokio", locked("tokio")),
        ("nginx", nginx()),
        ("nchan", output(Command::new("dpkg-query").args(["-W", "-f=${Version}", "libnginx-mod-nchan"]))),
        ("redis", output(Command::new("redis-server").arg("--version"))),
        ("nats", output(Command::new(&places.nats).arg("--version"))),
        ("node", output(Command::new("node").arg("--version"))),
        ("express", node("express")),
        ("better-sse", node("better-sse")),
        ("python", output(Command::new(&places.python).arg("--version"))),
        ("starlette", python("starlette")),
        ("sse-starlette", python("sse-starlette")),
        ("uvicorn", python("uvicorn")),
    ];
    lines.map(|(name, value)| (name, or_unknown(value))).into()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The rest of the first line that starts so.
fn field(path: &str, start: &str) -> Option<String> {
    read(path)?.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
}

/// A kernel's version without what its builder has named it.
fn numbers(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()
}

/// The first line that a program prints.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(|line| line.trim().to_owned())
}

/// nginx says its version on its standard error.
fn nginx() -> Option<String> {
    let usual = Path::new("/usr/sbin/nginx");
    let program = if usual.is_file() { usual } else { Path::new("nginx") };
    let output = Command::new(program).arg("-v").output().ok()?;
    let text = String::from_utf8(output.stderr).ok()?;
    Some(text.trim().rsplit_once('/')?.1.to_owned())
}

/// A crate's version in `Cargo.lock`.
fn locked(package: &str) -> Option<String> {
    version_in(&read("Cargo.lock")?, package)
}

fn version_in(lock: &str, package: &str) -> Option<String> {
    let rest = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let lock = "[[package]]\nname = \"axum-core\"\nversion = \"0.5.6\"\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!(version_in(lock, "axum").as_deref(), Some("0.8.9"));
        assert_eq!(version_in(lock, "tokio"), None);
        assert_eq!(numbers("6.18.44-some-name\n"), "6.18.44");
    }
}
