//! Asks whether something is up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Certificate, Client};

use crate::services::Probe;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks probes; keeps connections between questions.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    /// Clients by the file of the authority that they trust.
    clients: BTreeMap<String, Client>,
}

impl Prober {
    /// Which of these answer as they should.
    pub async fn ask(&mut self, probes: BTreeSet<Probe>) -> BTreeSet<Probe> {
        for probe in &probes {
            if let Probe::Https { ca, .. } = probe
                && !self.clients.contains_key(ca)
                && let Some(client) = client(ca)
            {
                self.clients.insert(ca.clone(), client);
            }
        }
        let answers = join_all(probes.iter().map(|probe| self.answers(probe))).await;
        probes.into_iter().zip(answers).filter(|(_, answers)| *answers).map(|(probe, _)| probe).collect()
    }

    async fn answers(&self, probe: &Probe) -> bool {
        match probe {
            Probe::Socket { path } => tokio::net::UnixStream::connect(path).await.is_ok(),
            Probe::Https { url, ca } => match self.clients.get(ca) {
                Some(client) => client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()),
                None => false,
            },
        }
    }
}

/// A client that trusts one authority alone; nothing while its certificate cannot be read.
fn client(ca: &str) -> Option<Client> {
    crate::install_crypto();
    let certificate = Certificate::from_pem(&fs::read(ca).ok()?).ok()?;
    Client::builder().tls_certs_only([certificate]).no_proxy().timeout(PATIENCE).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_answers_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().join("there");
        let _listener = tokio::net::UnixListener::bind(&there).unwrap();
        let up = Probe::Socket { path: there.to_string_lossy().into_owned() };
        let down = Probe::Socket { path: "/no/such/socket".into() };
        let untrusted = Probe::Https { url: "https://127.0.0.1:1/readyz".into(), ca: "/no/such/file".into() };
        let answers = Prober::default().ask(BTreeSet::from([up.clone(), down, untrusted])).await;
        assert_eq!(answers, BTreeSet::from([up]));
    }
}
