//! Whether northd does what the northbound database wants.

use std::time::Duration;

use oaas_agent_config::OvnInStepProbe;
use tokio::time::{Instant, sleep};

use super::error::Error;
use super::system;

/// How often it is looked at whether it has come further.
const LOOK: Duration = Duration::from_millis(500);

/// How far the databases are: columns of `NB_Global`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    /// What somebody asked to be told of once it is done.
    nb: i64,
    /// What northd has done.
    sb: i64,
}

/// What `ovn-nbctl get NB_Global . nb_cfg sb_cfg` prints.
fn parse(text: &str) -> Option<Steps> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(Steps { nb: numbers.next()?.ok()?, sb: numbers.next()?.ok()? })
}

/// Is northd in step, or at least further than at the first look? After a loss `sb_cfg` may be ahead.
fn goes_on(first: Steps, now: Steps) -> bool {
    now.sb == now.nb || now.sb != first.sb
}

/// Look until it is in step or time is over; the error says how far it is.
pub async fn ask(probe: &OvnInStepProbe) -> Result<Option<String>, Error> {
    let began = Instant::now();
    let first = look().await?;
    let mut now = first;
    while !goes_on(first, now) {
        if began.elapsed() > Duration::from_millis(probe.within_ms) {
            let Steps { nb, sb } = now;
            return Ok(Some(format!("northd does nothing: nb_cfg is {nb}, and sb_cfg stays at {sb}")));
        }
        sleep(LOOK).await;
        now = look().await?;
    }
    Ok(None)
}

async fn look() -> Result<Steps, Error> {
    let command =
        ["ovn-nbctl", "--no-leader-only", "--timeout=2", "get", "NB_Global", ".", "nb_cfg", "sb_cfg"];
    let said = system::run(command).await?;
    parse(&said).ok_or_else(|| Error::Answer { what: "ovn-nbctl".to_owned(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_is_who_stays_behind() {
        let steps = |text| parse(text).unwrap();
        let first = steps("7\n5\n");
        assert!(!goes_on(first, steps("7\n5\n")));
        assert!(!goes_on(first, steps("9\n5\n")));
        assert!(goes_on(first, steps("9\n6\n")));
        assert!(goes_on(first, steps("7\n7\n")));
        assert!(!goes_on(steps("0\n5\n"), steps("0\n5\n")));
        assert_eq!(parse("no row"), None);
    }
}
