//! Builds, tests, measures and shows Keyferry.
fn main() {}
