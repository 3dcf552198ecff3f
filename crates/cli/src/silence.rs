//! Whether the operator is alive: what a status says is true only as long as somebody keeps it so.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::List;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use serde::Serialize;

/// Leases of that name, wherever operators are installed.
const PATH: &str = "/apis/coordination.k8s.io/v1/leases?fieldSelector=metadata.name%3D";
/// How long looking may take: the answer is about something else.
const PATIENCE: Duration = Duration::from_secs(5);

/// An operator that has not been heard of for longer than its lease lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Its last sign of life: nothing that is said of the cloud is newer.
    pub since: Timestamp,
    /// How long ago that was, in seconds.
    pub seconds: i64,
}

impl Silence {
    /// In words, which follow "the operator".
    pub fn words(&self) -> String {
        let seconds = self.seconds;
        let long = match seconds {
            0..120 => format!("{seconds} s"),
            120..7200 => format!("{} min", seconds / 60),
            _ => format!("{} h", seconds / 3600),
        };
        format!("has given no sign of life for {long}, since {}", self.since.strftime("%Y-%m-%d %H:%M:%SZ"))
    }
}

/// The operator's silence; none where it is alive, or where it cannot be found out.
///
/// Its lease is compared with the clock of the API server, which answers with the time of day.
pub async fn of_operator(client: &Client) -> Option<Silence> {
    let path = format!("{PATH}{}", oaas_operator::install::NAME);
    let request = http::Request::get(path).body(kube::client::Body::empty()).ok()?;
    let asked = async {
        let response = client.send(request).await.ok()?;
        let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let now = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let now = now.map_or_else(Timestamp::now, |now| now.timestamp());
        let body = response.into_body().collect_bytes().await.ok()?;
        let leases: List<Lease> = serde_json::from_slice(&body).ok()?;
        silence(leases.items.iter().filter_map(|lease| lease.spec.as_ref()), now)
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// How long nobody has renewed any of these leases, where that is longer than it may be.
fn silence<'a>(leases: impl Iterator<Item = &'a LeaseSpec>, now: Timestamp) -> Option<Silence> {
    let newest =
        leases.filter_map(|lease| Some((lease.renew_time.as_ref()?.0, lease))).max_by_key(|(at, _)| *at);
    let (since, lease) = newest?;
    let lasts = SignedDuration::from_secs(i64::from(lease.lease_duration_seconds.unwrap_or_default()));
    let silent = now.duration_since(since);
    (silent > lasts).then(|| Silence { since, seconds: silent.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    fn lease(renewed: &str) -> LeaseSpec {
        LeaseSpec {
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn an_operator_is_silent_when_its_lease_is_over() {
        let now = "2026-11-29T10:05:00Z".parse().unwrap();
        let of = |leases: &[LeaseSpec]| silence(leases.iter(), now);
        assert_eq!(of(&[]), None, "none is installed, or nobody may look");
        assert_eq!(of(&[lease("2026-11-29T10:04:46Z")]), None);
        let gone = of(&[lease("2026-11-29T10:00:00Z")]).unwrap();
        assert_eq!(gone.words(), "has given no sign of life for 5 min, since 2026-11-29 10:00:00Z");
        // Of several operators the one that was heard last keeps the clouds.
        assert_eq!(of(&[lease("2026-11-29T10:00:00Z"), lease("2026-11-29T10:04:59Z")]), None);
        assert_eq!(of(&[LeaseSpec::default()]), None);
    }
}
