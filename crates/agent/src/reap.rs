//! As PID 1 of a pod the agent inherits orphans; here they are reaped.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracing::warn;

use crate::program;

/// How long to leave the agent's own dead children to their owners before looking behind them.
const BEHIND: Duration = Duration::from_millis(200);

/// Reap orphans for ever. The agent's own children are left to those who wait for them.
pub(crate) async fn orphans() {
    let mut children = match signal(SignalKind::child()) {
        Ok(children) => children,
        Err(error) => {
            warn!(target: "oaas_agent", "failed to listen for ended children: {error}; orphans stay as zombies");
            return;
        }
    };
    loop {
        while !reap_ready() {
            sleep(BEHIND).await;
        }
        children.recv().await;
    }
}

/// Reap until nothing is left (true), or until one of the agent's own children is in front (false).
fn reap_ready() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, look) {
        let (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) = status else { return true };
        if program::is_own(pid.as_raw()) {
            return false;
        }
        reap(pid);
    }
    true
}

fn reap(pid: Pid) {
    // It was ready just now, and nobody else waits for it.
    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
}
