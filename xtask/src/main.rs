//! Checks, tests, benches and code generation of the workspace.
fn main() {}
