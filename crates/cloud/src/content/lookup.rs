//! How the parts of a declaration find each other, and what they need of each other.

use std::collections::BTreeSet;

use super::spec::{self, Content, Network, PasswordRule, Qualified};
use crate::engine::{Key, Kind};
use crate::identity::password_key;

/// What must be there before a user acts in a project: its password as declared, and its roles.
pub(super) fn login_needs(content: &Content, user: &Qualified, project: &Qualified) -> BTreeSet<Key> {
    let keeps =
        |declared: &&spec::User| declared.name == *user && declared.password_rule == PasswordRule::Keep;
    let password = content.users.iter().filter(keeps).map(|_| password_key(user));
    let roles = content
        .role_assignments
        .iter()
        .filter(|role| role.user == *user && role.project.as_ref() == Some(project));
    let roles = roles.map(|role| {
        Key::new(Kind::RoleAssignment, [role.role.clone(), user.to_string(), project.to_string()])
    });
    password.chain(roles).collect()
}

/// The network of this name that somebody in this project means: the project's own, else a shared or external one.
pub(super) fn find_network<'a>(content: &'a Content, name: &str, project: &Qualified) -> Option<&'a Network> {
    let mut named = content.networks.iter().filter(|network| network.name == name);
    let own = named.clone().find(|network| network.project == *project);
    own.or_else(|| named.find(|network| network.shared || network.external))
}

/// A regular expression that fits this text alone: Nova takes the filter `name` as one.
pub(crate) fn exact_pattern(text: &str) -> String {
    let mut pattern = String::from("^");
    for character in text.chars() {
        if !(character.is_alphanumeric() || matches!(character, '-' | '_' | ' ')) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('$');
    pattern
}

#[cfg(test)]
mod tests {
    use super::exact_pattern;

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(exact_pattern("demo-vm"), "^demo-vm$");
        assert_eq!(exact_pattern("a.b(c)"), "^a\\.b\\(c\\)$");
    }
}
