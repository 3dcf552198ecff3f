//! Which Kubernetes is built, and by which Go.

/// The version of Kubernetes; the recipe's `go.mod` says the same (tested).
pub const KUBERNETES: &str = "v1.37.2";

/// The oldest Go that builds it: major and minor version.
pub const OLDEST_GO: (u32, u32) = (1, 26);

/// Major and minor of a text such as `go1.26.8 linux/amd64`.
pub fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
