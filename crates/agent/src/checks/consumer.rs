//! Does somebody consume a queue of the bus? As much of an AMQP 0-9-1 client as it takes to ask: log in, look at the queue
//! without making it, say goodbye.

use std::fmt::Write as _;

use snafu::ResultExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::{Error, TalkSnafu, UnwellSnafu};
use super::wire::AMQP_HEADER;
use crate::tls::{self, Stream};
use oaas_agent_config::ConsumerProbe;

/// Frames are smaller than this before a larger size was agreed on (section 4.2.3 of the protocol).
const FRAME_LIMIT: usize = 64 * 1024;
const METHOD: u8 = 1;
const FRAME_END: u8 = 0xce;

/// The methods that are sent or understood: class and number.
const START: (u16, u16) = (10, 10);
const START_OK: (u16, u16) = (10, 11);
const TUNE: (u16, u16) = (10, 30);
const TUNE_OK: (u16, u16) = (10, 31);
const OPEN: (u16, u16) = (10, 40);
const OPEN_OK: (u16, u16) = (10, 41);
const CLOSE: (u16, u16) = (10, 50);
const CLOSE_OK: (u16, u16) = (10, 51);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const DECLARE: (u16, u16) = (50, 10);
const DECLARE_OK: (u16, u16) = (50, 11);

/// Some process consumes the queue: asked of the first member of the bus that answers.
pub(super) async fn ask(probe: &ConsumerProbe) -> Result<(), Error> {
    let unwell = |what: String| UnwellSnafu { what }.build();
    let path = &probe.config;
    let text = std::fs::read_to_string(path)
        .map_err(|error| unwell(format!("failed to read {}: {error}", path.display())))?;
    let bus = transport(&text)
        .and_then(parse)
        .ok_or_else(|| unwell(format!("{} has no transport_url of RabbitMQ", path.display())))?;
    let queue = probe.queue.replace("${node.name}", &std::env::var("NODE_NAME").unwrap_or_default());
    let mut last = Err(unwell(format!("the transport_url of {} names no server", path.display())));
    for member in &bus.members {
        last = ask_member(probe, member, &bus.virtual_host, &queue).await;
        match &last {
            // It answered, and that is the answer.
            Ok(_) => break,
            Err(error) => tracing::debug!(target: "oaas_agent", %error, "asks the next member of the bus"),
        }
    }
    match last? {
        Some(count) if count > 0 => Ok(()),
        Some(_) => Err(unwell(format!("nobody consumes the queue {queue}: the service has not started"))),
        None => Err(unwell(format!("there is no queue {queue}: the service has not started"))),
    }
}

/// The transport of an oslo.config file.
fn transport(text: &str) -> Option<&str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find_map(|(option, value)| (option.trim() == "transport_url").then(|| value.trim()))
}

/// A member of the bus, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    user: String,
    password: String,
    host: String,
    port: u16,
}

/// What a transport's URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bus {
    members: Vec<Member>,
    virtual_host: String,
}

/// `rabbit://user:password@host:port,user:password@host:port/virtual-host`.
fn parse(url: &str) -> Option<Bus> {
    let rest = url.strip_prefix("rabbit://")?;
    let rest = rest.split('?').next()?;
    let (members, virtual_host) = rest.split_once('/').unwrap_or((rest, ""));
    let member = |text: &str| {
        let (account, place) = text.rsplit_once('@')?;
        let (user, password) = account.split_once(':')?;
        let (host, port) = place.rsplit_once(':')?;
        Some(Member {
            user: decoded(user)?,
            password: decoded(password)?,
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    };
    let members = members.split(',').map(member).collect::<Option<Vec<_>>>()?;
    Some(Bus { members, virtual_host: decoded(virtual_host)? })
}

/// Text without its percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// How many consume the queue; nothing where there is no such queue.
async fn ask_member(
    probe: &ConsumerProbe,
    member: &Member,
    virtual_host: &str,
    queue: &str,
) -> Result<Option<u32>, Error> {
    let target = format!("{}:{}", member.host, member.port);
    let stream = tls::connect(&member.host, member.port, probe.tls.as_ref()).await?;
    let mut talk = Talk { stream, target };
    talk.write(AMQP_HEADER).await?;
    talk.expect(START).await?;
    let login = format!("\0{}\0{}", member.user, member.password);
    talk.send(0, START_OK, &[&long(0), &short_text("PLAIN"), &long_text(&login), &short_text("en_US")])
        .await?;
    let tune = talk.expect(TUNE).await?;
    // Channels and the size of frames as the server has them; no heart-beat, for it is over in a moment.
    let agreed = tune.get(..6).unwrap_or(&[0; 6]).to_vec();
    talk.send(0, TUNE_OK, &[&agreed, &[0, 0]]).await?;
    talk.send(0, OPEN, &[&short_text(virtual_host), &short_text(""), &[0]]).await?;
    talk.expect(OPEN_OK).await?;
    talk.send(1, CHANNEL_OPEN, &[&short_text("")]).await?;
    talk.expect(CHANNEL_OPEN_OK).await?;
    // Passive: a queue that is not there is not made, and its arguments are not compared.
    talk.send(1, DECLARE, &[&[0, 0], &short_text(queue), &[1], &long(0)]).await?;
    let (method, arguments) = talk.next().await?;
    let count = judge(method, &arguments)
        .map_err(|what| UnwellSnafu { what: format!("{} {what}", talk.target) }.build())?;
    talk.send(0, CLOSE, &[&200_u16.to_be_bytes(), &short_text(""), &[0; 4]]).await?;
    // Who leaves without a goodbye is written about in the server's log.
    while talk.next().await?.0 != CLOSE_OK {}
    Ok(count)
}

/// What the answer to the question for a queue says.
fn judge(method: (u16, u16), arguments: &[u8]) -> Result<Option<u32>, String> {
    const NOT_FOUND: [u8; 2] = 404_u16.to_be_bytes();
    match method {
        DECLARE_OK => {
            // The queue's name, its messages, its consumers.
            let name = usize::from(*arguments.first().unwrap_or(&0));
            let count = arguments.get(1 + name + 4..1 + name + 8).and_then(|bytes| bytes.try_into().ok());
            count.map(u32::from_be_bytes).map(Some).ok_or_else(|| "counts no consumers".to_owned())
        }
        CHANNEL_CLOSE if arguments.starts_with(&NOT_FOUND) => Ok(None),
        CHANNEL_CLOSE | CLOSE => Err(format!("refuses: {}", reply_text(arguments))),
        other => Err(format!("answers with method {other:?}")),
    }
}

/// The words of a close: after its code.
fn reply_text(arguments: &[u8]) -> String {
    let length = usize::from(*arguments.get(2).unwrap_or(&0));
    String::from_utf8_lossy(arguments.get(3..3 + length).unwrap_or_default()).into_owned()
}

fn long(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// At most 255 bytes: names of queues, hosts and mechanisms are no longer.
fn short_text(text: &str) -> Vec<u8> {
    let bytes = &text.as_bytes()[..text.len().min(255)];
    let mut coded = vec![u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    coded.extend_from_slice(bytes);
    coded
}

fn long_text(text: &str) -> Vec<u8> {
    let mut coded = long(u32::try_from(text.len()).unwrap_or(u32::MAX));
    coded.extend_from_slice(text.as_bytes());
    coded
}

/// A frame with a method: its type, its channel, its size, its method, its arguments, its end.
fn frame(channel: u16, method: (u16, u16), arguments: &[&[u8]]) -> Vec<u8> {
    let payload: Vec<u8> = [&method.0.to_be_bytes()[..], &method.1.to_be_bytes()[..]]
        .into_iter()
        .chain(arguments.iter().copied())
        .flatten()
        .copied()
        .collect();
    let mut coded = vec![METHOD];
    coded.extend_from_slice(&channel.to_be_bytes());
    coded.extend(long(u32::try_from(payload.len()).unwrap_or(u32::MAX)));
    coded.extend(payload);
    coded.push(FRAME_END);
    coded
}

/// A talk with one member.
struct Talk {
    stream: Box<dyn Stream>,
    target: String,
}

impl Talk {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.context(TalkSnafu { target: &self.target })
    }

    async fn send(&mut self, channel: u16, method: (u16, u16), arguments: &[&[u8]]) -> Result<(), Error> {
        self.write(&frame(channel, method, arguments)).await
    }

    /// The next method and its arguments; other frames (heart-beats) are passed over.
    async fn next(&mut self) -> Result<((u16, u16), Vec<u8>), Error> {
        loop {
            let mut header = [0; 7];
            self.read(&mut header).await?;
            let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > FRAME_LIMIT {
                let mut what = String::new();
                // Writing to a String cannot fail.
                let _ = write!(what, "{} does not speak AMQP: {header:?}", self.target);
                return UnwellSnafu { what }.fail();
            }
            let mut payload = vec![0; size + 1];
            self.read(&mut payload).await?;
            payload.truncate(size);
            if let ([METHOD, ..], [a, b, c, d, arguments @ ..]) = (header, payload.as_slice()) {
                let method = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
                return Ok((method, arguments.to_vec()));
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.stream.read_exact(buffer).await.map(|_| ()).context(TalkSnafu { target: &self.target })
    }

    async fn expect(&mut self, wanted: (u16, u16)) -> Result<Vec<u8>, Error> {
        let (method, arguments) = self.next().await?;
        if method == wanted {
            return Ok(arguments);
        }
        let said = if matches!(method, CLOSE | CHANNEL_CLOSE) {
            reply_text(&arguments)
        } else {
            format!("method {method:?}, not {wanted:?}")
        };
        UnwellSnafu { what: format!("{} refuses: {said}", self.target) }.fail()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_transport_is_read_as_oslo_writes_it() {
        let text = "[DEFAULT]\ndebug = false\ntransport_url = rabbit://nova_g1:p%40s@bus-0.x:5671,nova_g1:q@bus-1.x:5671/nova\n";
        let bus = parse(transport(text).unwrap()).unwrap();
        let member = |password: &str, host: &str| Member {
            user: "nova_g1".into(),
            password: password.into(),
            host: host.into(),
            port: 5671,
        };
        assert_eq!(bus.members, [member("p@s", "bus-0.x"), member("q", "bus-1.x")]);
        assert_eq!(bus.virtual_host, "nova");
        for wrong in ["amqp://x", "rabbit://nobody", "rabbit://a:b@c:port/", "rabbit://a:%zz@c:1/"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let mut arguments = short_text("compute.node1");
        arguments.extend(long(5));
        arguments.extend(long(2));
        assert_eq!(judge(DECLARE_OK, &arguments), Ok(Some(2)));
        assert!(judge(DECLARE_OK, &arguments[..16]).is_err());
        let closed = |code: u16| [&code.to_be_bytes()[..], &short_text("words"), &[0; 4]].concat();
        assert_eq!(judge(CHANNEL_CLOSE, &closed(404)), Ok(None));
        assert_eq!(judge(CHANNEL_CLOSE, &closed(403)).unwrap_err(), "refuses: words");
        assert!(judge(CHANNEL_OPEN_OK, &[]).is_err());
    }

    /// A server that knows one queue with so many consumers.
    async fn serve(mut stream: TcpStream, consumers: u32) {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.unwrap();
        assert_eq!(&header, AMQP_HEADER);
        let mut talk = Talk { stream: Box::new(stream), target: "client".into() };
        talk.send(0, START, &[&[0, 9], &long(0)]).await.unwrap();
        let login = talk.expect(START_OK).await.unwrap();
        assert!(login.windows(8).any(|bytes| bytes == b"\0nova\0pw"));
        talk.send(0, TUNE, &[&[7, 255, 0, 2, 0, 0, 0, 60]]).await.unwrap();
        assert_eq!(talk.expect(TUNE_OK).await.unwrap(), [7, 255, 0, 2, 0, 0, 0, 0]);
        assert_eq!(talk.expect(OPEN).await.unwrap(), [&short_text("nova")[..], &[0, 0]].concat());
        talk.write(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]).await.unwrap();
        talk.send(0, OPEN_OK, &[&short_text("")]).await.unwrap();
        talk.expect(CHANNEL_OPEN).await.unwrap();
        talk.send(1, CHANNEL_OPEN_OK, &[&long(0)]).await.unwrap();
        let wanted = talk.expect(DECLARE).await.unwrap();
        if wanted[2..].starts_with(&short_text("compute")) {
            talk.send(1, DECLARE_OK, &[&short_text("compute"), &long(0), &long(consumers)]).await.unwrap();
        } else {
            talk.send(1, CHANNEL_CLOSE, &[&404_u16.to_be_bytes(), &short_text("no queue"), &[0; 4]])
                .await
                .unwrap();
        }
        talk.expect(CLOSE).await.unwrap();
        talk.send(0, CLOSE_OK, &[]).await.unwrap();
    }

    async fn asked(queue: &str, consumers: u32) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, consumers).await });
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("nova.conf");
        // The first member is away.
        let url = format!("rabbit://nova:pw@127.0.0.1:1,nova:pw@127.0.0.1:{port}/nova");
        std::fs::write(&config, format!("[DEFAULT]\ntransport_url = {url}\n")).unwrap();
        let result = ask(&ConsumerProbe { config, queue: queue.into(), tls: None }).await;
        server.await.unwrap();
        result.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_queue_is_asked_for_its_consumers() {
        assert_eq!(asked("compute", 1).await, Ok(()));
        assert!(asked("compute", 0).await.unwrap_err().contains("nobody consumes the queue compute"));
        assert!(asked("other", 1).await.unwrap_err().contains("there is no queue other"));
    }

    #[tokio::test]
    async fn a_file_without_a_transport_is_told() {
        let probe = ConsumerProbe { config: Path::new("/nowhere").into(), queue: "q".into(), tls: None };
        assert!(ask(&probe).await.unwrap_err().to_string().contains("/nowhere"));
    }
}
