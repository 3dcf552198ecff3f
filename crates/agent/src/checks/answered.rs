//! Has the role heard from its own server lately?

use std::time::Duration;

use oaas_agent_config::AnsweredProbe;

use super::error::{Error, UnwellSnafu};
use super::processes::{look, stopped};

pub(super) fn ask(probe: &AnsweredProbe, roots: &[i32], silence: Option<Duration>) -> Result<(), Error> {
    let what = match stopped(&look(roots)?) {
        Some(stopped) => Some(stopped),
        None => judge(probe, silence),
    };
    what.map_or(Ok(()), |what| UnwellSnafu { what }.fail())
}

/// What is wrong, by how long ago it has answered.
fn judge(probe: &AnsweredProbe, silence: Option<Duration>) -> Option<String> {
    match silence {
        None => Some("it has not answered yet".to_owned()),
        Some(silence) if silence >= Duration::from_secs(probe.within_seconds) => {
            Some(format!("it answered nothing for {} s", silence.as_secs()))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_bounded() {
        let judge =
            |seconds| super::judge(&AnsweredProbe { within_seconds: 30 }, Some(Duration::from_secs(seconds)));
        assert_eq!(judge(29), None);
        assert_eq!(judge(30).unwrap(), "it answered nothing for 30 s");
        assert!(super::judge(&AnsweredProbe { within_seconds: 30 }, None).is_some());
    }
}
