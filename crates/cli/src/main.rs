//! `oaas`: the command line.
fn main() {}
