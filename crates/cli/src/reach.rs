//! Whether servers answer on their floating IPs: ACTIVE says that the machine runs, not that its system has booted.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use oaas_api::status::ServerSummary;
use oaas_feedback::Task;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long one attempt may take: OVN and the guest resolve addresses meanwhile.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The pause after an attempt that was refused by something between here and there.
const PAUSE: Duration = Duration::from_millis(200);

/// Wait until every server with a floating IP answers on a port, at most for `patience`. Returns the names of those that
/// do not: their systems still boot, or their security groups close the port.
pub async fn wait(servers: &[ServerSummary], port: u16, patience: Duration, task: &Task) -> Vec<String> {
    let until = Instant::now() + patience;
    let wait_for = |server: ServerSummary| async move {
        let address: IpAddr = server.floating_ip.as_deref()?.parse().ok()?;
        let child = task.child(server.name.clone());
        child.status(format!("starts: port {port} of {address} does not answer yet"));
        if timeout_at(until, answered(address, port)).await.is_ok() {
            child.done();
            return None;
        }
        child.failed(format!("port {port} of {address} did not answer for {} s", patience.as_secs()));
        Some(server.name)
    };
    join_all(servers.iter().cloned().map(wait_for)).await.into_iter().flatten().collect()
}

/// Returns when the address answers; a port that its own system refuses is an answer too.
async fn answered(address: IpAddr, port: u16) {
    loop {
        match timeout(ATTEMPT, TcpStream::connect((address, port))).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => return,
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn server(address: Option<&str>) -> ServerSummary {
        ServerSummary {
            name: "demo-vm".into(),
            project: None,
            status: "ACTIVE".into(),
            address: None,
            floating_ip: address.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn open_and_refused_ports_are_answers_and_silence_is_not() {
        let task = Task::silent();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let soon = Duration::from_millis(300);
        let none = Vec::<String>::new();
        assert_eq!(wait(&[server(Some("127.0.0.1")), server(None)], port, soon, &task).await, none);
        drop(listener);
        assert_eq!(wait(&[server(Some("127.0.0.1"))], port, soon, &task).await, none);
        // Nothing can be connected to there: EINVAL or ENETUNREACH at once, whatever the machine.
        assert_eq!(wait(&[server(Some("255.255.255.255"))], port, soon, &task).await, ["demo-vm"]);
    }
}
