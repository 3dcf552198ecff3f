//! Names that can be part of a DNS name.

use crate::openstack::NAME_MAX;

/// Whether a name can be a label of a DNS name that starts with a letter.
pub fn is_dns_label(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits) && !name.ends_with('-')
}

/// The nearest DNS label to a name.
pub(super) fn as_dns_label(name: &str) -> Option<String> {
    let mapped: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let trimmed = mapped.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let cut: String = trimmed.chars().take(NAME_MAX).collect();
    let label = cut.trim_end_matches('-').to_owned();
    (!label.is_empty()).then_some(label)
}
