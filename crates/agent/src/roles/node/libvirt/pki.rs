//! Certificates for libvirt and QEMU; a guest that runs is given the newer one of its console.

use std::path::Path;

use oaas_agent_config::{Libvirt, TlsFiles};
use tracing::{info, warn};

use super::super::error::Error;
use super::super::system;
use super::{files, guests};

/// Each file, and the names that libvirt and QEMU want it under: a server's first.
fn named(tls: &TlsFiles) -> [(&Path, &'static [&'static str]); 3] {
    [
        (&tls.ca, &["ca-cert.pem"]),
        (&tls.cert, &["server-cert.pem", "client-cert.pem"]),
        (&tls.key, &["server-key.pem", "client-key.pem"]),
    ]
}

/// The certificates under the names that libvirt and QEMU want, readable for guests' processes.
pub async fn write(pki: &Path, role: &Libvirt, tls: &TlsFiles) -> Result<(), Error> {
    system::make_directory(pki)?;
    for (from, names) in named(tls) {
        for name in names {
            system::write(&pki.join(name), &system::read(from)?, 0o440)?;
        }
    }
    let owner = format!("root:{}", role.guest_user);
    system::run(["chown", "--recursive", &owner, &pki.display().to_string()]).await?;
    Ok(())
}

/// Write what is there now where it is newer, and have every running guest read it, as also at the `first` look: what was cut
/// off before it was told may have written it. A guest that cannot is told of and goes on with what it has.
pub async fn follow(role: &Libvirt, tls: &TlsFiles, first: bool) -> Result<(), Error> {
    let pki = Path::new(files::CONSOLE_PKI);
    let mut same = true;
    for (from, names) in named(tls) {
        same &= system::read_if_there(&pki.join(names[0]))?.as_ref() == Some(&system::read(from)?);
    }
    if same && !first {
        return Ok(());
    }
    write(pki, role, tls).await?;
    for guest in guests::all()? {
        let reload = [
            "virsh",
            "--quiet",
            "--connect",
            "qemu:///system",
            "domdisplay-reload",
            &guest.domain,
            "--type",
            "vnc",
        ];
        match system::run(reload).await {
            Ok(_) => {
                info!(target: "oaas_agent", guest = guest.domain, "its console has the newer certificate");
            }
            Err(error) => {
                warn!(target: "oaas_agent", guest = guest.domain, "its console keeps its former certificate: {error}");
            }
        }
    }
    Ok(())
}
