//! Measures bridges and proxies side by side.
fn main() {}
