//! Compiles src/dm/shim/clnh.c for this machine, over stand-ins of the kernel headers that it includes.

fn main() {
    let source = "../../src/dm/shim/clnh.c";
    println!("cargo:rerun-if-changed={source}");
    println!("cargo:rerun-if-changed=kernel");
    let mut build = cc::Build::new();
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        // As in the kernel, the compiler leaves the vector registers alone.
        build
            .define("CONFIG_X86_64", None)
            .flag("-mgeneral-regs-only");
    }
    build
        .file(source)
        .include("kernel")
        .flag("-Wno-unused-parameter")
        .compile("clnh");
}
