//! Is this machine fit for an embedded cluster? Everything that is in the way, told at once.

use std::fmt;

use oaas_feedback::{Explain, Kind};
use oaas_node::{Finding, Report};

/// Everything on this machine that is in the way; never empty.
#[derive(Debug)]
pub struct Unfit(Vec<Finding>);

/// Fail with everything that is in the way.
pub fn require(report: &Report) -> Result<(), Unfit> {
    let found: Vec<Finding> = report.obstacles().cloned().collect();
    if found.is_empty() { Ok(()) } else { Err(Unfit(found)) }
}

impl Unfit {
    /// In one line: the first one, and how many more.
    pub fn summary(&self) -> String {
        match &self.0[..] {
            [only] => only.to_string(),
            all => format!("{}, and {} more", all[0], all.len() - 1),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return only.fmt(out);
        }
        write!(out, "this machine is not fit for a cluster: {} problems", self.0.len())?;
        self.0.iter().try_for_each(|found| write!(out, "\n  {found}; {}", advice(found)))
    }
}

impl std::error::Error for Unfit {}

impl Explain for Unfit {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.0[..] {
            [only] => advice(only),
            _ => "each line says what to do; then run the same command again".to_owned(),
        })
    }
}

/// What to do about it, in words of the command line.
fn advice(found: &Finding) -> String {
    let hint = found.hint().unwrap_or_default();
    match found {
        Finding::Port { .. } | Finding::Published { .. } => {
            format!("{hint} (spec.publish of the resource; or another address with --listen)")
        }
        _ => hint,
    }
}

#[cfg(test)]
mod tests {
    use super::require;
    use oaas_feedback::Explain;
    use oaas_node::{Finding, Report};

    #[test]
    fn one_obstacle_is_told_by_itself_and_several_as_a_list() {
        let missing = Finding::Packages { packages: vec!["nftables"] };
        let port = Finding::Port { address: [127, 0, 0, 1].into(), port: 30080, owner: None };
        let report = |findings| Report { findings };
        assert!(require(&report(vec![Finding::OomScore])).is_ok());
        let one = require(&report(vec![Finding::OomScore, missing.clone()])).unwrap_err();
        assert_eq!(one.to_string(), "missing: nftables");
        assert_eq!(one.hint().unwrap(), "install them: apt-get install nftables");
        let two = require(&report(vec![missing, port])).unwrap_err();
        assert_eq!(two.summary(), "missing: nftables, and 1 more");
        insta::assert_snapshot!(two, @"
        this machine is not fit for a cluster: 2 problems
          missing: nftables; install them: apt-get install nftables
          port 30080 of 127.0.0.1 is taken; free it (ss -ltnp 'sport = :30080' says who has it) or publish another port (spec.publish of the resource; or another address with --listen)
        ");
    }
}
