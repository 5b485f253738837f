//! TLS with verification on: the system's certificates, or a CA file of the user.

use std::{path::Path, sync::Arc};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _, Side};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Makes the TLS handshake as a client that expects a certificate for `host`.
pub(crate) async fn handshake(
    side: Side,
    host: &str,
    ca_file: Option<&Path>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .or_err(ErrorKind::Tls(side), || "set up TLS".into())?
        .with_root_certificates(roots(side, ca_file)?)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).or_err(ErrorKind::Tls(side), || format!("use `{host}` in TLS"))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .or_err(ErrorKind::Tls(side), || format!("make the TLS handshake with the {side} {host}"))
}

fn roots(side: Side, ca_file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        // A system store may hold single certificates that rustls does not take: the others still count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let context = || format!("read the CA certificates of the {side} from {}", path.display());
    for cert in CertificateDer::pem_file_iter(path).or_err(ErrorKind::SecretFile, context)? {
        let cert = cert.or_err(ErrorKind::SecretFile, context)?;
        roots.add(cert).or_err(ErrorKind::SecretFile, context)?;
    }
    if roots.is_empty() {
        return Err(Error::new(ErrorKind::SecretFile, format!("{}: it holds no certificate", context())));
    }
    Ok(roots)
}
