//! A real API server on a real etcd, on loopback, for one test: nothing else of Kubernetes runs.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::AuthInfo;
use kube::{Client, Config};
use tempfile::TempDir;

const ADMIN: &str = "admin-token";

/// etcd and kube-apiserver; both end when this is dropped.
pub struct Cluster {
    directory: TempDir,
    port: u16,
    etcd: Child,
    server: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.etcd] {
            // Both hold nothing that outlives the temporary directory.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The multi-call binary of `embedded/kubernetes`.
fn binary() -> PathBuf {
    let path = std::env::var_os("OAAS_TEST_KUBE")
        .expect("OAAS_TEST_KUBE names the multi-call binary of embedded/kubernetes; `make test` sets it");
    let path = PathBuf::from(path);
    assert!(path.is_file(), "OAAS_TEST_KUBE: {} is no file", path.display());
    path
}

/// A port that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(directory: &Path, name: &str, arguments: &[String]) -> Child {
    let program = directory.join("bin").join(name);
    let log = std::fs::File::create(directory.join(format!("{name}.log"))).unwrap();
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Cluster {
    /// Starts both and waits until the API server is ready.
    pub async fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::create_dir(path.join("bin")).unwrap();
        for name in ["etcd", "kube-apiserver", "kubectl"] {
            symlink(binary(), path.join("bin").join(name)).unwrap();
        }
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(path.join("accounts.key"), key.serialize_pem()).unwrap();
        std::fs::write(path.join("accounts.pub"), key.public_key_pem()).unwrap();
        let mut tokens = std::fs::File::create(path.join("tokens.csv")).unwrap();
        writeln!(tokens, "{ADMIN},admin,1,system:masters").unwrap();
        let (client, peer, port) = (free_port(), free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = start(
            path,
            "etcd",
            &[
                format!("--data-dir={}", path.join("data").display()),
                format!("--listen-client-urls={}", url(client)),
                format!("--advertise-client-urls={}", url(client)),
                format!("--listen-peer-urls={}", url(peer)),
                format!("--initial-advertise-peer-urls={}", url(peer)),
                format!("--initial-cluster=default={}", url(peer)),
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
        );
        let accounts = path.join("accounts.key").display().to_string();
        let server = start(
            path,
            "kube-apiserver",
            &[
                format!("--etcd-servers={}", url(client)),
                format!("--cert-dir={}", path.join("certs").display()),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={port}"),
                // Loopback is refused here; nobody uses this address, because no reconciler publishes it.
                "--advertise-address=192.0.2.1".into(),
                format!("--token-auth-file={}", path.join("tokens.csv").display()),
                "--authorization-mode=RBAC".into(),
                "--service-cluster-ip-range=10.96.0.0/16".into(),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                format!("--service-account-key-file={}", path.join("accounts.pub").display()),
                format!("--service-account-signing-key-file={accounts}"),
                "--endpoint-reconciler-type=none".into(),
                // No controllers run, so nothing makes the default service accounts that this plugin waits for.
                "--disable-admission-plugins=ServiceAccount".into(),
            ],
        );
        let mut cluster = Self { directory, port, etcd, server };
        cluster.wait().await;
        cluster
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = self.server.try_wait().unwrap() {
                panic!("kube-apiserver ended: {status}\n{}", self.log("kube-apiserver"));
            }
            if self.directory.path().join("certs/apiserver.crt").exists() {
                let request = axum::http::Request::get("/readyz").body(Vec::new()).unwrap();
                if self.client().await.request_text(request).await.is_ok() {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "kube-apiserver is not ready\n{}", self.log("kube-apiserver"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    fn config(&self) -> Config {
        let mut config = Config::new(format!("https://127.0.0.1:{}", self.port).parse().unwrap());
        config.accept_invalid_certs = true;
        config.auth_info = AuthInfo { token: Some(ADMIN.to_owned().into()), ..AuthInfo::default() };
        config
    }

    /// A client with all rights.
    pub async fn client(&self) -> Client {
        Client::try_from(self.config()).unwrap()
    }

    /// A client that may do what the operator's identity may do.
    pub fn operator(&self) -> impl Future<Output = Client> + Send + 'static {
        let mut config = self.config();
        config.auth_info.impersonate = Some("system:serviceaccount:oaas-system:oaas-operator".into());
        async move { Client::try_from(config).unwrap() }
    }

    /// Runs kubectl with all rights: its exit, and what it printed on both streams.
    pub fn kubectl(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(self.directory.path().join("bin/kubectl"))
            .args([
                "--server",
                &format!("https://127.0.0.1:{}", self.port),
                "--insecure-skip-tls-verify",
                "--token",
                ADMIN,
            ])
            .args(arguments)
            .env("HOME", self.directory.path())
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Like [`Cluster::kubectl`], with a file.
    pub fn kubectl_file(&self, arguments: &[&str], yaml: &str) -> (bool, String) {
        let file = self.directory.path().join("input.yaml");
        std::fs::write(&file, yaml).unwrap();
        let mut all = arguments.to_vec();
        let file = file.display().to_string();
        all.extend(["-f", &file]);
        self.kubectl(&all)
    }
}
