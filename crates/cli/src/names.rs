//! Names that people give on the command line, checked once.

use std::fmt;
use std::str::FromStr;

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
pub enum Error {
    /// Nothing was given.
    #[snafu(display("the name is empty"))]
    Empty,
    /// Too long for what is derived from it.
    #[snafu(display("{name:?} has {} characters, at most {most} are possible", name.len()))]
    Long {
        /// What was given.
        name: String,
        /// The limit.
        most: usize,
    },
    /// A character that a DNS label cannot have.
    #[snafu(display("{name:?} is not DNS-safe: lower-case letters, digits and '-' inside; try {nearest:?}"))]
    NotDns {
        /// What was given.
        name: String,
        /// The nearest name that would do.
        nearest: String,
    },
    /// A cloud is named as `NAMESPACE/NAME` or `NAME`.
    #[snafu(display("{given:?} has more than one '/'; a cloud is NAME or NAMESPACE/NAME"))]
    Slashes {
        /// What was given.
        given: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// A DNS label (RFC 1123) of at most `most` characters.
fn label(name: &str, most: usize) -> Result<String, Error> {
    if name.is_empty() {
        return Err(Error::Empty);
    }
    if name.len() > most {
        return Err(Error::Long { name: name.to_owned(), most });
    }
    let nearest = nearest(name);
    if nearest == name { Ok(nearest) } else { Err(Error::NotDns { name: name.to_owned(), nearest }) }
}

/// `name` with everything mended that a label cannot have.
fn nearest(name: &str) -> String {
    let mended: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let mended = mended.trim_matches('-');
    if mended.is_empty() { "demo".to_owned() } else { mended.to_owned() }
}

/// Names a cloud in a cluster: its resource and, unless it is the only one of that name, the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudName {
    /// The namespace, when given.
    pub namespace: Option<String>,
    /// The resource's name.
    pub name: String,
}

impl FromStr for CloudName {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        match given.split('/').collect::<Vec<_>>()[..] {
            [name] => Ok(Self { namespace: None, name: label(name, 63)? }),
            [namespace, name] => Ok(Self { namespace: Some(label(namespace, 63)?), name: label(name, 63)? }),
            _ => Err(Error::Slashes { given: given.to_owned() }),
        }
    }
}

impl fmt::Display for CloudName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CloudName, Error};

    #[test]
    fn a_bad_name_is_answered_with_the_nearest_good_one() {
        let nearest = |name: &str| match name.parse::<CloudName>() {
            Err(Error::NotDns { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        };
        assert_eq!(nearest("My_Cloud"), "my-cloud");
        assert_eq!(nearest("-x-"), "x");
        assert_eq!(nearest("ünder"), "nder");
        assert_eq!(nearest("___"), "demo");
        assert_eq!("".parse::<CloudName>(), Err(Error::Empty));
        assert!(matches!("a".repeat(64).parse::<CloudName>(), Err(Error::Long { most: 63, .. })));
    }

    #[test]
    fn a_cloud_may_be_named_with_its_namespace() {
        let cloud: CloudName = "team/demo".parse().unwrap();
        assert_eq!((cloud.namespace.as_deref(), cloud.name.as_str()), (Some("team"), "demo"));
        assert_eq!("demo".parse::<CloudName>().unwrap().to_string(), "demo");
        assert!(matches!("a/b/c".parse::<CloudName>(), Err(Error::Slashes { .. })));
        assert!("Team/demo".parse::<CloudName>().is_err());
    }
}
