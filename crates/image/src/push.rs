//! Pushing images from the cache to any OCI registry, blob by blob; what is there already is not sent again.

use std::path::PathBuf;

use futures::StreamExt as _;
use oaas_feedback::{Explain, Kind, Task};
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use snafu::{OptionExt as _, ResultExt as _, Snafu};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::oci::{self, HOST};
use crate::store::{self, Cache};

/// Bytes per chunk: large enough to be quick, small enough for what proxies accept.
const CHUNK: u64 = 16 << 20;

/// Where to push to.
#[derive(Clone)]
pub struct Registry {
    /// Base URL with the path that goes before image names, such as `https://registry.example:5000/cloud`.
    pub url: Url,
    /// User name and password, sent as basic authentication.
    pub credentials: Option<(String, String)>,
    /// PEM of a certificate authority to trust besides the machine's.
    pub authority: Option<Vec<u8>>,
}

/// An image could not be pushed.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// It was not built.
    #[snafu(display("failed to find the image {image} in the cache"))]
    NotBuilt {
        /// The image.
        image: String,
    },
    /// The cache.
    #[snafu(display("failed to use the image cache"))]
    Store {
        /// What went wrong.
        source: store::Error,
    },
    /// A blob of it.
    #[snafu(display("failed to read the blob {}", path.display()))]
    Blob {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The URL cannot name images.
    #[snafu(display("failed to name an image below {url}"))]
    Address {
        /// As given.
        url: String,
    },
    /// The certificate authority.
    #[snafu(display("failed to set up the connection to {url}"))]
    Client {
        /// The registry.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The registry did not answer.
    #[snafu(display("failed to {what} at {url}"))]
    Request {
        /// As an infinitive.
        what: &'static str,
        /// Where.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The registry refused.
    #[snafu(display("failed to {what} at {url}: the registry answers {status}: {said}"))]
    Refused {
        /// As an infinitive.
        what: &'static str,
        /// Where.
        url: String,
        /// Its answer.
        status: StatusCode,
        /// The beginning of its words.
        said: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotBuilt { .. } | Self::Address { .. } => Kind::Input,
            Self::Store { source } => source.kind(),
            Self::Request { source, .. } if source.is_connect() => Kind::Environment,
            _ => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotBuilt { image } => Some(format!("build it first: oaas image build {image}")),
            Self::Store { source } => source.hint(),
            Self::Address { .. } => {
                Some("a registry's URL looks like https://registry.example:5000/cloud".into())
            }
            Self::Client { .. } => Some("is the certificate authority a PEM file?".into()),
            Self::Refused { status, .. }
                if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(status) =>
            {
                Some("give a user name and password that may push there".into())
            }
            Self::Request { source, .. } if source.is_connect() => {
                Some("is the URL right, and the registry's certificate authority known?".into())
            }
            _ => None,
        }
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;

/// Push an image with its software list, as `<url>/<image>:<tag>`. Hands back the reference by digest.
pub async fn push(cache: &Cache, image: &str, registry: &Registry, tag: &str, task: &Task) -> Result<String> {
    let index = oci::read_index(cache).context(error::StoreSnafu)?;
    let find = |suffix: &str| {
        let name = format!("{HOST}/{image}:{suffix}");
        index.iter().find(|d| oci::reference(d) == Some(&name))
    };
    let found = find("latest").context(error::NotBuiltSnafu { image })?;
    let target = Target::new(registry, image)?;
    target.manifest(cache, found, tag, task).await?;
    if let Some(list) = find("spdx") {
        target.manifest(cache, list, list.digest().as_ref(), task).await?;
    }
    Ok(format!("{}@{}", target.name(), found.digest()))
}

struct Target<'a> {
    client: Client,
    registry: &'a Registry,
    /// `https://host/v2/<path>/<image>/`.
    base: Url,
}

impl<'a> Target<'a> {
    fn new(registry: &'a Registry, image: &str) -> Result<Self> {
        let url = &registry.url;
        let address = || error::AddressSnafu { url: url.as_str() };
        if url.cannot_be_a_base() || url.host_str().is_none() {
            return address().fail();
        }
        let path = url.path().trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let base = url.join(&format!("/v2/{path}{slash}{image}/")).ok().with_context(address)?;
        let mut client = Client::builder();
        if let Some(pem) = &registry.authority {
            client = client.add_root_certificate(
                Certificate::from_pem(pem).context(error::ClientSnafu { url: url.as_str() })?,
            );
        }
        let client = client.build().context(error::ClientSnafu { url: url.as_str() })?;
        Ok(Self { client, registry, base })
    }

    /// The image's name as a container runtime writes it.
    fn name(&self) -> String {
        let port = self.base.port().map(|p| format!(":{p}")).unwrap_or_default();
        format!(
            "{}{port}/{}",
            self.base.host_str().unwrap_or_default(),
            self.base.path().trim_start_matches("/v2/").trim_end_matches('/')
        )
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.registry.credentials {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    fn at(&self, path: &str) -> Result<Url> {
        self.base.join(path).ok().with_context(|| error::AddressSnafu { url: self.registry.url.as_str() })
    }

    /// Send the blobs of a manifest, then the manifest.
    async fn manifest(
        &self,
        cache: &Cache,
        manifest: &Descriptor,
        reference: &str,
        task: &Task,
    ) -> Result<()> {
        let digest = manifest.digest().digest();
        let parsed = oci::read_manifest(cache, digest).context(error::StoreSnafu)?;
        let parsed = parsed.with_context(|| error::NotBuiltSnafu { image: self.name() })?;
        let blobs: Vec<&Descriptor> = parsed.layers().iter().chain([parsed.config()]).collect();
        let total = blobs.iter().map(|b| b.size()).sum();
        let mut sent = 0;
        for blob in blobs {
            task.progress(sent, total, "bytes");
            self.blob(cache, blob, &|more| task.progress(sent + more, total, "bytes")).await?;
            sent += blob.size();
        }
        task.progress(sent, total, "bytes");
        let path = cache.blob(digest);
        let body = tokio::fs::read(&path).await.context(error::BlobSnafu { path })?;
        let url = self.at(&format!("manifests/{reference}"))?;
        let request = self
            .request(Method::PUT, url.clone())
            .header(CONTENT_TYPE, manifest.media_type().to_string())
            .body(body);
        send("store a manifest", &url, request).await?;
        Ok(())
    }

    /// Send a blob in chunks, unless it is there.
    async fn blob(&self, cache: &Cache, blob: &Descriptor, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let there = self.at(&format!("blobs/{}", blob.digest()))?;
        let answer = self.request(Method::HEAD, there.clone()).send().await;
        if answer.context(error::RequestSnafu { what: "look for a blob", url: there.as_str() })?.status()
            == StatusCode::OK
        {
            return Ok(());
        }
        let start = self.at("blobs/uploads/")?;
        let begun = send(
            "begin an upload",
            &start,
            self.request(Method::POST, start.clone()).header(CONTENT_LENGTH, 0),
        )
        .await?;
        let mut next = location(&begun, &start)?;
        let path = cache.blob(blob.digest().digest());
        let mut done = 0;
        while done < blob.size() {
            let length = CHUNK.min(blob.size() - done);
            let mut file = tokio::fs::File::open(&path).await.context(error::BlobSnafu { path: &path })?;
            file.seek(std::io::SeekFrom::Start(done)).await.context(error::BlobSnafu { path: &path })?;
            let stream = ReaderStream::with_capacity(file.take(length), 128 << 10).map(|piece| piece);
            let request = self
                .request(Method::PATCH, next.clone())
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, length)
                .header(CONTENT_RANGE, format!("{done}-{}", done + length - 1))
                .body(reqwest::Body::wrap_stream(stream));
            let answer = send("send a blob", &next, request).await?;
            next = location(&answer, &next)?;
            done += length;
            progress(done);
        }
        next.query_pairs_mut().append_pair("digest", blob.digest().as_ref());
        send("finish a blob", &next, self.request(Method::PUT, next.clone()).header(CONTENT_LENGTH, 0))
            .await?;
        Ok(())
    }
}

/// Send a request; whatever is not success is an error with the registry's words.
async fn send(what: &'static str, url: &Url, request: RequestBuilder) -> Result<Response> {
    let answer = request.send().await.context(error::RequestSnafu { what, url: url.as_str() })?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let said: String = answer.text().await.unwrap_or_default().chars().take(300).collect();
    error::RefusedSnafu { what, url: url.as_str(), status, said }.fail()
}

/// Where an upload goes on.
fn location(answer: &Response, from: &Url) -> Result<Url> {
    let header = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok());
    header.and_then(|l| from.join(l).ok()).with_context(|| error::AddressSnafu { url: from.as_str() })
}
