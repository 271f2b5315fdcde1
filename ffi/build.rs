//! What rustc does not do for a shared library that others link: its name for the loader, and that it stays loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(target.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd") {
        // Before 1.0 the number grows with every break of the ABI.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfanfare.so.0");
        // Threads with destructors of their own do not survive unloading (rust-lang/rust issue 91979).
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
