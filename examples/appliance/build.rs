//! Says how the program is linked: static, at a fixed address, without libc and its start files.

fn main() {
    println!("cargo:rerun-if-changed=discard.ld");
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{folder}/discard.ld");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
        "-Wl,--no-eh-frame-hdr",
        // Constants and code share pages: one page less in memory.
        "-Wl,--no-rosegment",
        // The prebuilt `core` refers to it, and nothing unwinds.
        "-Wl,--defsym=rust_eh_personality=0",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
