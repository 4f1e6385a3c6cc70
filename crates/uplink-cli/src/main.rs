//! uplink
fn main() {}
