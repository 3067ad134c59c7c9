//! Builds anew when a schema or a migration appears, since both are embedded in the binary.

fn main() {
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=migrations");
}
