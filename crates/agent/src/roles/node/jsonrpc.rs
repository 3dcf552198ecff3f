//! The two dialects of JSON-RPC that Open vSwitch's programs speak on local sockets: commands (`ovs-appctl`) and the
//! database protocol (RFC 7047).

use std::io::{Error as IoError, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use snafu::ResultExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::{AskSnafu, Error, RefusedSnafu};
use crate::tls::{self, Stream};
use oaas_agent_config::TlsFiles;

/// How long an answer may take; a check's own time-out is usually shorter.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers are small; what is larger is not one of ours.
const LARGEST: usize = 4 << 20;

/// Ask a program a command on its control socket; gives the text it answers.
pub async fn command(socket: &Path, command: &str, arguments: &[&str]) -> Result<String, Error> {
    match call(socket, command, json!(arguments)).await? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

/// Do operations on a database in one transaction; gives one result for each.
pub async fn transact(socket: &Path, database: &str, operations: &[Value]) -> Result<Vec<Value>, Error> {
    results(socket, call(socket, "transact", parameters(database, operations)).await?)
}

/// The same over the network, as one of the cloud's own.
pub async fn transact_at(
    host: &str,
    port: u16,
    tls: &TlsFiles,
    database: &str,
    operations: &[Value],
) -> Result<Vec<Value>, Error> {
    let stream = match timeout(LIMIT, tls::connect_as(host, port, tls)).await {
        Ok(stream) => stream.map_err(|source| IoError::other(crate::error::chain(&source))),
        Err(_) => Err(IoError::new(ErrorKind::TimedOut, "no connection")),
    };
    // Errors name what is asked as they name a socket's path.
    let name = format!("{host}:{port}");
    let stream = stream.context(AskSnafu { socket: &name })?;
    let result = exchange(stream, Path::new(&name), "transact", parameters(database, operations)).await?;
    results(Path::new(&name), result)
}

fn parameters(database: &str, operations: &[Value]) -> Value {
    std::iter::once(Value::from(database)).chain(operations.iter().cloned()).collect()
}

fn results(socket: &Path, result: Value) -> Result<Vec<Value>, Error> {
    let Value::Array(results) = result else {
        return RefusedSnafu { socket, method: "transact", said: result.to_string() }.fail();
    };
    match results.iter().find(|result| !result["error"].is_null()) {
        Some(refused) => RefusedSnafu { socket, method: "transact", said: refused.to_string() }.fail(),
        None => Ok(results),
    }
}

async fn call(socket: &Path, method: &str, parameters: Value) -> Result<Value, Error> {
    let stream = UnixStream::connect(socket).await.context(AskSnafu { socket })?;
    exchange(stream, socket, method, parameters).await
}

async fn exchange(
    mut stream: impl Stream,
    socket: &Path,
    method: &str,
    parameters: Value,
) -> Result<Value, Error> {
    let talk = async {
        let request = json!({"id": 0, "method": method, "params": parameters}).to_string();
        stream.write_all(request.as_bytes()).await?;
        let mut received = Vec::new();
        loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(IoError::new(ErrorKind::UnexpectedEof, "it hung up before it answered"));
            }
            if let Some(answer) = answer_in(&received) {
                return Ok(answer);
            }
            if received.len() > LARGEST {
                return Err(IoError::new(ErrorKind::InvalidData, "its answer is too long"));
            }
        }
    };
    let answer = match timeout(LIMIT, talk).await {
        Ok(answer) => answer,
        Err(_) => Err(IoError::new(
            ErrorKind::TimedOut,
            format!("no answer to {method} within {} s", LIMIT.as_secs()),
        )),
    };
    let mut answer = answer.context(AskSnafu { socket })?;
    match &answer["error"] {
        Value::Null => Ok(answer["result"].take()),
        Value::String(text) => RefusedSnafu { socket, method, said: text.trim() }.fail(),
        other => RefusedSnafu { socket, method, said: other.to_string() }.fail(),
    }
}

/// The answer to our only request, if it is complete; the server's own requests (`echo`) are skipped, as we are gone
/// before it misses their answers.
fn answer_in(received: &[u8]) -> Option<Value> {
    serde_json::Deserializer::from_slice(received)
        .into_iter::<Value>()
        .map_while(Result::ok)
        .find(|message| message["method"].is_null() && message["id"] == json!(0))
}

/// A map as the database protocol writes it.
pub fn map(value: &Value) -> std::collections::BTreeMap<String, String> {
    let pairs = value.get(1).and_then(Value::as_array).into_iter().flatten();
    pairs
        .filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_whole_answer() {
        let whole = br#"{"id":"echo","method":"echo","params":[]}{"id":0,"error":null,"result":"3.5.0"}"#;
        assert_eq!(answer_in(&whole[..whole.len() - 1]), None);
        assert_eq!(answer_in(whole).unwrap()["result"], "3.5.0");
    }

    #[test]
    fn reads_maps() {
        let value = json!(["map", [["ovn-bridge-datapath-type", "netdev"], ["system-id", "node1"]]]);
        assert_eq!(map(&value)["ovn-bridge-datapath-type"], "netdev");
        assert!(map(&json!(["map", []])).is_empty());
    }

    #[tokio::test]
    async fn names_a_socket_that_is_not_there() {
        let error = command(Path::new("/nonexistent/x.ctl"), "version", &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "failed to ask /nonexistent/x.ctl");
    }
}
