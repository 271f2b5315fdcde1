//! What C and C++ programs are given: libraries, headers, pkg-config and CMake files below a prefix. Everything in
//! there finds the rest from where it stands, so that the folder can be moved.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::exports;
use crate::files;
use crate::guide;
use crate::native::{self, STATIC_LIBS};
use crate::run::{Program, say};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// As the library's build script names it. The number grows with every break of the ABI.
const SONAME: &str = "libfanfare.so.0";
const TEMPLATES: &str = "bindings/c/install";

/// Builds and installs below `prefix`.
pub(crate) fn install(prefix: &Path) -> Result<()> {
    build("dist")?;
    install_from("dist", prefix)
}

/// Installs the release build, which other steps have made already, and uses it from outside.
pub(crate) fn test() -> Result<()> {
    build("release")?;
    let place = native::scratch()?;
    let (first, prefix, consumer) = (place.join("first"), place.join("prefix"), place.join("consumer"));
    for folder in [&first, &prefix, &consumer] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    install_from("release", &first)?;
    // It may be moved.
    fs::rename(&first, &prefix)?;
    exports::check_library(&prefix.join("lib").join(SONAME))?;
    // The examples, copied to where nothing of the project is near.
    fs::create_dir_all(&consumer)?;
    for file in ["consumer/CMakeLists.txt", "examples/hello.c"] {
        copy(&format!("bindings/c/{file}"), &consumer)?;
    }
    copy("bindings/cpp/examples/hello.cpp", &consumer)?;
    with_pkg_config(&prefix, &consumer)?;
    with_cmake(&prefix, &consumer)?;
    guide::follow(&prefix)
}

fn build(profile: &str) -> Result<()> {
    Program::cargo().args(["build", "--locked", "-p", "fanfare-ffi", "--profile", profile]).run()
}

fn install_from(profile: &str, prefix: &Path) -> Result<()> {
    let prefix = std::path::absolute(prefix)?;
    let (lib, include) = (prefix.join("lib"), prefix.join("include"));
    let (pkg_config, cmake) = (lib.join("pkgconfig"), lib.join("cmake/fanfare"));
    for folder in [&include, &pkg_config, &cmake] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    copy("include/fanfare.h", &include)?;
    copy("bindings/cpp/include/fanfare.hpp", &include)?;
    let built = files::target().join(profile);
    let whole = lib.join(format!("libfanfare.so.{VERSION}"));
    for (from, to) in [("libfanfare.so", &whole), ("libfanfare.a", &lib.join("libfanfare.a"))] {
        // A library that programs run with is replaced, never written over.
        remove(to)?;
        fs::copy(built.join(from), to).with_context(|| format!("cannot write {}", to.display()))?;
        Program::new("strip").args(["--strip-debug"]).args([to]).run()?;
    }
    link(&format!("libfanfare.so.{VERSION}"), &lib.join(SONAME))?;
    link(SONAME, &lib.join("libfanfare.so"))?;
    template("fanfare.pc", &pkg_config)?;
    template("fanfare-config.cmake", &cmake)?;
    template("fanfare-config-version.cmake", &cmake)?;
    let dynamic = Program::new("readelf").args(["-d"]).args([&whole]).output()?;
    if !dynamic.contains(&format!("[{SONAME}]")) || !dynamic.contains("NODELETE") {
        bail!("{} is not {SONAME}, or may be unloaded:\n{dynamic}", whole.display());
    }
    for file in [&whole, &lib.join("libfanfare.a")] {
        say(&format!("    {}: {} KiB", file.display(), fs::metadata(file)?.len() / 1024));
    }
    Ok(())
}

fn template(name: &str, to: &Path) -> Result<()> {
    let text = files::read(&files::root().join(TEMPLATES).join(format!("{name}.in")))?;
    let (minor, _) = VERSION.rsplit_once('.').context("a version has three numbers")?;
    let text = text
        .replace("@VERSION@", VERSION)
        .replace("@MINOR@", minor)
        .replace("@SONAME@", SONAME)
        .replace("@STATIC_LIBS@", &STATIC_LIBS.join(" "))
        .replace("@STATIC_LIBS_CMAKE@", &STATIC_LIBS.join(";"));
    let to = to.join(name);
    fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn copy(file: &str, folder: &Path) -> Result<()> {
    let name = Path::new(file).file_name().context("a file has a name")?;
    fs::copy(files::root().join(file), folder.join(name))
        .with_context(|| format!("cannot copy {file} to {}", folder.display()))?;
    Ok(())
}

fn link(to: &str, at: &Path) -> Result<()> {
    remove(at)?;
    symlink(to, at).with_context(|| format!("cannot make {}", at.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn with_pkg_config(prefix: &Path, consumer: &Path) -> Result<()> {
    let flags = |more: &[&str]| -> Result<Vec<String>> {
        let answer = Program::new("pkg-config")
            .args(["--cflags", "--libs"])
            .args(more)
            .args(["fanfare >= 0.1"])
            .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
            .output()?;
        Ok(answer.split_whitespace().map(str::to_owned).collect())
    };
    for (source, compiler, expected) in [("hello.c", "cc", C_OUTPUT), ("hello.cpp", "c++", CPP_OUTPUT)] {
        let program = consumer.join(format!("{source}-pkg-config"));
        let compile = |flags: Vec<String>, program: &Path| {
            Program::new(compiler)
                .args([consumer.join(source)])
                .args(["-o"])
                .args([program])
                .args(flags)
                .run()
        };
        compile(flags(&[])?, &program)?;
        prints(Program::new(&program).env("LD_LIBRARY_PATH", prefix.join("lib")), &program, expected)?;
        // The archive, for which pkg-config tells what it needs; the linker takes it where there is no other.
        let program = consumer.join(format!("{source}-pkg-config-static"));
        let archive = prefix.join("lib/libfanfare.a").display().to_string();
        let flags = flags(&["--static"])?;
        compile(
            flags.into_iter().map(|flag| if flag == "-lfanfare" { archive.clone() } else { flag }).collect(),
            &program,
        )?;
        prints(Program::new(&program), &program, expected)?;
    }
    Ok(())
}

fn with_cmake(prefix: &Path, consumer: &Path) -> Result<()> {
    let build = consumer.join("build");
    Program::new("cmake")
        .args(["-S"])
        .args([consumer])
        .args(["-B"])
        .args([&build])
        .args([format!("-DCMAKE_PREFIX_PATH={}", prefix.display())])
        .without_cargo_env()
        .run()?;
    Program::new("cmake").args(["--build"]).args([&build]).run()?;
    for linkage in ["shared", "static"] {
        for (name, expected) in [("hello", C_OUTPUT), ("hello_cpp", CPP_OUTPUT)] {
            let program = build.join(format!("{name}_{linkage}"));
            prints(Program::new(&program), &program, expected)?;
        }
    }
    let needed = Program::new("readelf").args(["-d"]).args([build.join("hello_shared")]).output()?;
    if !needed.contains(&format!("[{SONAME}]")) {
        bail!("a program of CMake's does not look for {SONAME}:\n{needed}");
    }
    Ok(())
}

const C_OUTPUT: &str = "bindings/c/examples/hello.txt";
const CPP_OUTPUT: &str = "bindings/cpp/examples/hello.txt";

fn prints(program: Program, path: &Path, expected: &str) -> Result<()> {
    let printed: PathBuf = path.with_extension("txt");
    program.output_to(&printed)?.limit(native::LIMIT).run()?;
    let (got, wanted) = (files::read(&printed)?, files::read(&files::root().join(expected))?);
    if got != wanted {
        bail!("{} prints\n{got}instead of {expected}:\n{wanted}", path.display());
    }
    Ok(())
}
