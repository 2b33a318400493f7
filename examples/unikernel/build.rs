//! Says how the kernel is linked: at 2 MiB, with the PVH note, and with the tables that decode the log.

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        for argument in [format!("-T{folder}/link.ld"), "-Tdefmt.x".into(), "--no-pie".into(), "--gc-sections".into()] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}
