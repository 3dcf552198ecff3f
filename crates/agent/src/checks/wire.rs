//! Checks of servers by the first bytes of their protocol.

use snafu::ResultExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::{Error, TalkSnafu, UnwellSnafu};
use crate::tls;
use oaas_agent_config::{AmqpProbe, MemcachedProbe, TcpProbe};

/// A TCP connection is accepted.
pub(super) async fn tcp(probe: &TcpProbe) -> Result<(), Error> {
    tls::connect(&probe.host, probe.port, None).await?;
    Ok(())
}

/// The header with which an AMQP 0-9-1 client begins (section 4.2.2 of the protocol).
pub(super) const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// An AMQP server answers the protocol header with `Connection.Start`.
pub(super) async fn amqp(probe: &AmqpProbe) -> Result<(), Error> {
    let target = format!("{}:{}", probe.host, probe.port);
    let mut stream = tls::connect(&probe.host, probe.port, probe.tls.as_ref()).await?;
    stream.write_all(AMQP_HEADER).await.context(TalkSnafu { target: &target })?;
    let mut answer = [0; 11];
    // A server that knows another version answers with its own header of eight bytes, and closes.
    let mut length = 0;
    while length < answer.len() {
        match stream.read(&mut answer[length..]).await.context(TalkSnafu { target: &target })? {
            0 => break,
            read => length += read,
        }
    }
    judge_amqp(&target, &answer[..length]).map_or_else(|what| UnwellSnafu { what }.fail(), Ok)
}

/// A frame header (type, channel, size: 7 bytes), then class and method of two bytes each.
fn judge_amqp(target: &str, answer: &[u8]) -> Result<(), String> {
    match answer {
        [1, 0, 0, _, _, _, _, 0, 10, 0, 10] => Ok(()),
        [b'A', b'M', b'Q', b'P', ..] => Err(format!("{target} speaks another version of AMQP: {answer:?}")),
        [] => Err(format!("{target} closed the connection without a word of AMQP")),
        _ => Err(format!("{target} does not speak AMQP: {answer:?}")),
    }
}

/// A memcached answers `version`.
pub(super) async fn memcached(probe: &MemcachedProbe) -> Result<(), Error> {
    let target = format!("{}:{}", probe.host, probe.port);
    let mut stream = tls::connect(&probe.host, probe.port, probe.tls.as_ref()).await?;
    stream.write_all(b"version\r\n").await.context(TalkSnafu { target: &target })?;
    let mut answer = [0; 64];
    let mut length = 0;
    while length < answer.len() && !answer[..length].contains(&b'\n') {
        match stream.read(&mut answer[length..]).await.context(TalkSnafu { target: &target })? {
            0 => break,
            read => length += read,
        }
    }
    let said = String::from_utf8_lossy(&answer[..length]).trim_end().to_owned();
    if said.starts_with("VERSION ") {
        return Ok(());
    }
    UnwellSnafu { what: format!("{target} does not answer as memcached: {said:?}") }.fail()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_start_is_good() {
        assert_eq!(judge_amqp("bus", &[1, 0, 0, 0, 0, 2, 12, 0, 10, 0, 10]), Ok(()));
    }

    #[test]
    fn anything_else_is_named() {
        assert!(judge_amqp("bus", b"AMQP\x00\x01\x00\x00").unwrap_err().contains("another version"));
        assert!(judge_amqp("bus", b"").unwrap_err().contains("closed"));
        assert!(judge_amqp("bus", b"HTTP/1.1 40").unwrap_err().contains("does not speak AMQP"));
        // Connection.Close instead of Connection.Start.
        assert!(judge_amqp("bus", &[1, 0, 0, 0, 0, 2, 12, 0, 10, 0, 50]).is_err());
    }
}
