//! TLS on both sides, with verification.

use std::{fs, path::Path};

use keyferry_testkit::{data, server::Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

/// An authority and a certificate of it for 127.0.0.1, as files.
fn certificates(dir: &Path) -> Tls {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    Tls { cert: file("cert.pem", cert.pem()), key: file("key.pem", key.serialize_pem()), ca: file("ca.pem", ca.pem()) }
}

#[test]
fn both_sides_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificates(dir.path());
    let start = || Server::builder("redis-7.0").tls(tls.clone()).start().unwrap();
    let (source, target) = (start(), start());
    data::fill_mixed(&source.url(), 3000, 1).unwrap();
    let url = |s: &Server| format!("rediss://127.0.0.1:{}", s.tls_port().unwrap());
    let ca = tls.ca.to_str().unwrap();
    let trusted = ["--source-tls-ca", ca, "--target-tls-ca", ca];
    let run = sync(&url(&source), &url(&target)).args(trusted).arg("--stop-when-synced").spawn().unwrap();
    let exit = run.wait_exit(LONG).unwrap();
    assert_eq!(exit.code(), 0, "{}", exit.stderr);
    differences_with_grace(&source, &target).assert_equal();

    // Without the authority the certificate is not believed; a name that it does not hold neither.
    let run = sync(&url(&source), &url(&target)).spawn().unwrap();
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0003");
    let other_name = url(&source).replace("127.0.0.1", "localhost");
    let run = sync(&other_name, &url(&target)).args(trusted).spawn().unwrap();
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0003");
    // TLS spoken to a port without it.
    let run = sync(&source.url().replace("redis:", "rediss:"), &target.url()).args(trusted).spawn().unwrap();
    assert_fails(&run.wait_exit(LONG).unwrap(), 1, "SRC-0003");
}
