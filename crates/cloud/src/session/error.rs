//! What goes wrong when a cloud is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use oaas_feedback::{Explain, Kind};
use serde_json::Value;
use snafu::Snafu;

use crate::content::spec::Qualified;
use crate::engine::OrderError;
use crate::service::Service;

/// A failed call to a cloud.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// The CA certificate or the client cannot be set up.
    #[snafu(display("failed to set up the client of the cloud: {what}"))]
    Configure {
        /// What is wrong.
        what: String,
    },
    /// No connection came about.
    #[snafu(display("failed to connect to {service} at {host} for {method} {path}"))]
    Connect {
        /// Which service.
        service: Service,
        /// Host and port.
        host: String,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The connection broke; whether the call was carried out is not known.
    #[snafu(display("failed to finish {method} {path} of {service} at {host}: the connection broke"))]
    Broken {
        /// Which service.
        service: Service,
        /// Host and port.
        host: String,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer in time; whether the call was carried out is not known.
    #[snafu(display("failed to get an answer from {service} at {host} to {method} {path} within {} s", after.as_secs_f32()))]
    TimedOut {
        /// Which service.
        service: Service,
        /// Host and port.
        host: String,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// How long was waited.
        after: Duration,
    },
    /// The service refused.
    #[snafu(display(
        "failed to {method} {path} of {service}: {status}{}{}",
        if message.is_empty() { String::new() } else { format!(": {message}") },
        request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default()
    ))]
    Status {
        /// Which service.
        service: Service,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What the service said.
        message: String,
        /// `x-openstack-request-id`, which the service's log lines carry.
        request_id: Option<String>,
        /// How long the service asks to wait before another try (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// Keystone did not accept the login.
    #[snafu(display(
        "failed to log in as {user}: {message}{}",
        request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default()
    ))]
    Login {
        /// Who.
        user: Qualified,
        /// What Keystone said.
        message: String,
        /// `x-openstack-request-id`.
        request_id: Option<String>,
    },
    /// The answer is not what the API describes.
    #[snafu(display("failed to read the answer of {service} to {method} {path}: {what}"))]
    Answer {
        /// Which service.
        service: Service,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The catalog has no such endpoint.
    #[snafu(display("failed to find the {interface} endpoint of {service} in region {region}; the catalog has {}",
        if known.is_empty() { "none of it".to_owned() } else { known.join(", ") }))]
    NoEndpoint {
        /// Which service.
        service: Service,
        /// Which interface.
        interface: &'static str,
        /// Which region.
        region: String,
        /// What the catalog has of the service.
        known: Vec<String>,
    },
    /// An address is no address.
    #[snafu(display("failed to use the address {address}: {what}"))]
    Address {
        /// The address.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// A user's password was not given.
    #[snafu(display("failed to act as {user}: its password was not given"))]
    NoPassword {
        /// Who.
        user: Qualified,
    },
    /// The file of an image cannot be read.
    #[snafu(display("failed to read the image file {}", path.display()))]
    ImageFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes of an image cannot be fetched.
    #[snafu(display("failed to download the image from {url}: {what}"))]
    Download {
        /// From where, without user, password and query.
        url: String,
        /// Why.
        what: String,
    },
    /// The bytes of an image are not those that were declared.
    #[snafu(display(
        "failed to upload the image from {place}: its checksum is {found}, declared is {declared}"
    ))]
    Checksum {
        /// From where.
        place: String,
        /// What was declared.
        declared: String,
        /// What was found.
        found: String,
    },
    /// Glance stored other bytes than were sent.
    #[snafu(display("failed to upload the image from {place}: Glance stored {stored}, sent was {sent}"))]
    Stored {
        /// From where.
        place: String,
        /// SHA-512 of what was sent.
        sent: String,
        /// SHA-512 of what was stored.
        stored: String,
    },
    /// The items cannot be put in order.
    #[snafu(display("failed to put the cloud's content in order"), context(false))]
    Order {
        /// Why.
        source: OrderError,
    },
}

impl Error {
    /// The HTTP status, if the service answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Login { .. } => Some(401),
            _ => None,
        }
    }

    /// Whether the call may have been carried out though it failed.
    pub fn ambiguous(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::TimedOut { .. })
            || matches!(self.status(), Some(500..=599))
    }

    /// The message with those of its sources, for a report that keeps one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        line
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Configure { .. } | Self::Address { .. } | Self::NoPassword { .. } => Kind::Input,
            Self::Connect { .. } | Self::Broken { .. } | Self::TimedOut { .. } | Self::NoEndpoint { .. } => {
                Kind::NotReady
            }
            Self::Status { status: 502..=504, .. } => Kind::NotReady,
            Self::Status { status: 409, .. } => Kind::Busy,
            Self::Checksum { .. } | Self::Stored { .. } => Kind::Integrity,
            Self::ImageFile { .. } => Kind::Environment,
            Self::Order { source } => source.kind(),
            Self::Status { .. } | Self::Login { .. } | Self::Answer { .. } | Self::Download { .. } => {
                Kind::Failed
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Configure { .. } => {
                "give the cloud's CA as PEM, as the Secret of its certificates has it".to_owned()
            }
            Self::Connect { service, .. } if self.line().contains("ertificate") => {
                format!(
                    "the certificate of {service} is not of the CA that was given: compare it with the cloud's CA"
                )
            }
            Self::Connect { service, .. } => {
                format!("see whether a pod of {service} runs and is ready: `oaas why {service}`")
            }
            Self::Broken { service, .. } => {
                format!(
                    "see whether the pod of {service} was restarted just now: `oaas why {service}`; it is tried again"
                )
            }
            Self::TimedOut { service, .. } => format!(
                "{service} took the call and does not answer: see its log (`oaas logs {service}`) and its database"
            ),
            Self::Status { service, status, request_id, .. } => {
                return status_hint(*service, *status, request_id.as_deref());
            }
            Self::Login { user, .. } => format!(
                "check the password of {user} in its Secret, and the clock: a token from the future or the past is refused too"
            ),
            Self::Answer { service, .. } => {
                format!(
                    "something else than {service} may answer at its address: check the endpoint and proxies"
                )
            }
            Self::NoEndpoint { service, .. } => {
                format!("register the endpoint of {service}, or give its address as an override")
            }
            Self::Address { .. } => "write it like https://keystone.demo.svc:5000/v3".to_owned(),
            Self::NoPassword { user } => format!("declare user {user} with a password"),
            Self::ImageFile { .. } => "put the file there, or declare the image with a url".to_owned(),
            Self::Download { .. } => {
                "see whether the address answers from where the operator runs".to_owned()
            }
            Self::Checksum { .. } => "correct the declared checksum, or the file or address".to_owned(),
            Self::Stored { .. } => "the store behind Glance damages data: check its volume".to_owned(),
            Self::Order { source } => return source.hint(),
        })
    }
}

fn status_hint(service: Service, status: u16, request_id: Option<&str>) -> Option<String> {
    let log = || match request_id {
        Some(id) => format!("look for {id} in the log of {service}: `oaas logs {service}`"),
        None => format!("see the log of {service}: `oaas logs {service}`"),
    };
    match status {
        401 => Some(format!(
            "{service} did not take a fresh token: check its own password in keystone_authtoken, and the clocks"
        )),
        403 => Some("the user lacks a role for this: check its role assignments".to_owned()),
        415 if service == Service::Image => {
            Some("Glance looks into the bytes: they may not be of the declared diskFormat".to_owned())
        }
        413 | 429 => Some("a quota is used up: raise it for the project".to_owned()),
        500 => Some(log()),
        502..=504 => Some(format!("see whether a pod of {service} runs and is ready: `oaas why {service}`")),
        _ => None,
    }
}

/// What a service says in the body of a refusal. Keystone, Nova, Neutron, Placement and Glance each have a form of
/// their own; Glance and proxies answer HTML at times.
pub fn fault_message(body: &str) -> String {
    let message =
        serde_json::from_str::<Value>(body).ok().and_then(|json| fault_of(&json)).unwrap_or_else(|| {
            let mut text = String::new();
            let mut inside = false;
            for character in body.chars() {
                match character {
                    '<' => inside = true,
                    '>' => {
                        inside = false;
                        text.push(' ');
                    }
                    _ if !inside => text.push(character),
                    _ => {}
                }
            }
            text
        });
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 400 {
        format!("{}…", line.chars().take(400).collect::<String>())
    } else {
        line
    }
}

fn fault_of(json: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(error) = json.pointer("/errors/0") {
        let detail =
            error.get("detail").and_then(Value::as_str).or(error.get("title").and_then(Value::as_str));
        return detail.map(str::to_owned);
    }
    if let Some(message) = json.get("message").and_then(text) {
        return Some(message);
    }
    // {"error": {...}}, {"badRequest": {...}}, {"NeutronError": {...}}: one member with the message in it.
    let (_, inner) = json.as_object()?.iter().next()?;
    inner.get("message").and_then(text).or_else(|| text(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_understood() {
        let cases = [
            (
                r#"{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}"#,
                "The request you have made requires authentication.",
            ),
            (r#"{"badRequest":{"code":400,"message":"Invalid input"}}"#, "Invalid input"),
            (
                r#"{"NeutronError":{"type":"IpAddressInUse","message":"Unable to complete","detail":""}}"#,
                "Unable to complete",
            ),
            (
                r#"{"errors":[{"status":404,"title":"Not Found","detail":"No resource provider"}]}"#,
                "No resource provider",
            ),
            (
                "<html><head><title>409 Conflict</title></head><body><h1>409 Conflict</h1>in use<br /></body></html>",
                "409 Conflict 409 Conflict in use",
            ),
            (r#"{"message":"No image found","code":"404 Not Found"}"#, "No image found"),
            ("", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(fault_message(body), expected);
        }
        assert!(fault_message(&"x".repeat(1000)).chars().count() <= 401);
    }

    #[test]
    fn hints_say_where_to_look() {
        let error = Error::Login {
            user: "admin".into(),
            message: "no".to_owned(),
            request_id: Some("req-1".to_owned()),
        };
        assert!(error.hint().is_some_and(|hint| hint.contains("password") && hint.contains("clock")));
        assert_eq!(error.to_string(), "failed to log in as admin: no (request req-1)");
        let error = Error::Status {
            service: Service::Image,
            method: "GET",
            path: "/v2/images".to_owned(),
            status: 500,
            message: String::new(),
            request_id: Some("req-2".to_owned()),
            retry_after: None,
        };
        assert!(error.hint().is_some_and(|hint| hint.contains("req-2") && hint.contains("oaas logs glance")));
        assert_eq!(error.to_string(), "failed to GET /v2/images of glance: 500 (request req-2)");
    }
}
