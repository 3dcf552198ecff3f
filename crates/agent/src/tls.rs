//! TLS as a client: nothing but the cloud's own CA is trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oaas_feedback::{Explain, Kind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use snafu::{ResultExt as _, Snafu, ensure};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use oaas_agent_config::{TlsFiles, TlsTrust};

/// What can go wrong with a connection.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The CA's file cannot be read.
    #[snafu(display("failed to read the CA {}", path.display()))]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The CA's file has no certificate.
    #[snafu(display("failed to read the CA {}: it holds no certificate", path.display()))]
    NoCa {
        /// The file.
        path: PathBuf,
    },
    /// The CA's certificate is not one.
    #[snafu(display("failed to trust the CA {}", path.display()))]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The CA cannot verify anybody.
    #[snafu(display("failed to verify by the CA {}", path.display()))]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::client::VerifierBuilderError,
    },
    /// The own certificate or key cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    ReadOwn {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The own certificate and key are no pair.
    #[snafu(display("failed to use the certificate {}", path.display()))]
    Own {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The name to verify is not one.
    #[snafu(display("failed to verify a server named {name:?}"))]
    Name {
        /// The name.
        name: String,
        /// Why.
        source: InvalidDnsNameError,
    },
    /// No connection.
    #[snafu(display("failed to connect to {host}:{port}"))]
    Connect {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// No TLS.
    #[snafu(display("failed to speak TLS with {host}:{port} as {name}"))]
    Handshake {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// The name the certificate must carry.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Name { .. } => Kind::Input,
            _ => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ReadCa { .. } | Self::NoCa { .. } | Self::Trust { .. } | Self::Verifier { .. } => Some(
                "the file comes from the Secret with the cloud's CA, which the operator makes".to_owned(),
            ),
            _ => None,
        }
    }
}

/// Make ring the process's TLS provider, unless one is set already.
pub fn install_provider() {
    // An error means that one is installed, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificates of a CA's PEM file.
pub fn read_ca(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .context(ReadCaSnafu { path })?;
    ensure!(!certificates.is_empty(), NoCaSnafu { path });
    Ok(certificates)
}

fn roots(ca: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in read_ca(ca)? {
        roots.add(certificate).context(TrustSnafu { path: ca })?;
    }
    Ok(roots)
}

/// A TLS client that trusts one CA file alone.
pub fn client(ca: &Path) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots(ca)?).with_no_client_auth()))
}

/// A TLS client that trusts one CA file alone, and takes any server for the one of this name: a name of the domain name
/// system or an address. For who asks an address that the certificate does not have, as a probe within a pod does.
pub fn client_of(ca: &Path, name: &str) -> Result<ClientConfig, Error> {
    let verifier =
        WebPkiServerVerifier::builder(Arc::new(roots(ca)?)).build().context(VerifierSnafu { path: ca })?;
    let name = ServerName::try_from(name.to_owned()).context(NameSnafu { name })?;
    let named = Arc::new(Named { verifier, name });
    Ok(ClientConfig::builder().dangerous().with_custom_certificate_verifier(named).with_no_client_auth())
}

/// Verifies all of a certificate as ever, but for its own name instead of that of the connection.
#[derive(Debug)]
struct Named {
    verifier: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A TLS client that trusts one CA file alone and shows a certificate of its own.
fn client_as(files: &TlsFiles) -> Result<Arc<ClientConfig>, Error> {
    let (cert, key) = (&files.cert, &files.key);
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .context(ReadOwnSnafu { path: cert })?;
    let key = PrivateKeyDer::from_pem_file(key).context(ReadOwnSnafu { path: key })?;
    let client = ClientConfig::builder().with_root_certificates(roots(&files.ca)?);
    Ok(Arc::new(client.with_client_auth_cert(chain, key).context(OwnSnafu { path: cert })?))
}

/// A byte stream, TLS or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connect, with TLS where there is something to verify by.
pub async fn connect(host: &str, port: u16, trust: Option<&TlsTrust>) -> Result<Box<dyn Stream>, Error> {
    let stream = TcpStream::connect((host, port)).await.context(ConnectSnafu { host, port })?;
    let Some(trust) = trust else {
        return Ok(Box::new(stream));
    };
    let name = trust.server_name.as_deref().unwrap_or(host);
    handshake(stream, host, port, name, client(&trust.ca)?).await
}

/// Connect by TLS and show a certificate.
pub async fn connect_as(host: &str, port: u16, files: &TlsFiles) -> Result<Box<dyn Stream>, Error> {
    let stream = TcpStream::connect((host, port)).await.context(ConnectSnafu { host, port })?;
    handshake(stream, host, port, host, client_as(files)?).await
}

async fn handshake(
    stream: TcpStream,
    host: &str,
    port: u16,
    name: &str,
    client: Arc<ClientConfig>,
) -> Result<Box<dyn Stream>, Error> {
    let server = ServerName::try_from(name.to_owned()).context(NameSnafu { name })?;
    let stream = TlsConnector::from(client).connect(server, stream).await;
    Ok(Box::new(stream.context(HandshakeSnafu { host, port, name })?))
}
