//! The digest of a report, and the signature over it: Ed25519, with keys as OpenSSL writes them.

use std::path::Path;

use aws_lc_rs::{
    digest::{SHA256, digest as hash},
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};
use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};

/// What stands in front of the 32 bytes of a public key in its DER form (RFC 8410).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The SHA-256 of `bytes`, as 64 hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    hash(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file in the form of `sha256sum` names this digest.
pub(super) fn names(text: &[u8], digest: &str) -> bool {
    text.split(|b| b.is_ascii_whitespace()).next() == Some(digest.as_bytes())
}

/// A key to sign with.
pub(super) struct Key(Ed25519KeyPair);

impl Key {
    /// Reads a PEM file with PKCS#8.
    ///
    /// Errors: `ReportKey`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let context = || format!("read the key to sign with in {}", path.display());
        let der = PrivatePkcs8KeyDer::from_pem_slice(&file(path)?).or_err(ErrorKind::ReportKey, context)?;
        // OpenSSL leaves the public half out, so that there is nothing to check it against.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).or_err(ErrorKind::ReportKey, context)
    }

    /// The 64 bytes of a signature over `bytes`.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }
}

/// A key to verify with.
pub(super) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a PEM file with a public key.
    ///
    /// Errors: `ReportKey`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let context = || format!("read the public key in {}", path.display());
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&file(path)?).or_err(ErrorKind::ReportKey, context)?;
        match der.as_ref().strip_prefix(&PUBLIC) {
            Some(key) if key.len() == 32 => Ok(Self(key.to_vec())),
            _ => Err(Error::new(ErrorKind::ReportKey, format!("{}: it is not one for Ed25519", context()))),
        }
    }

    /// Whether `signature` is one of this key's for `bytes`.
    pub(super) fn fits(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, signature).is_ok()
    }
}

fn file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).or_err(ErrorKind::ReportKey, || format!("read the key in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10, without and with the public half; RFC 8032, section 7.1, test 1.
    const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn keys_of_the_standard_fit_each_other() {
        let key = Key::read(written(OPENSSL).path()).unwrap();
        let public = PublicKey::read(written(PUBLIC_KEY).path()).unwrap();
        let signature = key.sign(b"a report");
        assert_eq!(signature.len(), 64);
        assert!(public.fits(b"a report", &signature));
        assert!(!public.fits(b"a report!", &signature) && !public.fits(b"a report", &signature[1..]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let rsa = PUBLIC_KEY.replace("MCowBQYDK2Vw", "MCowBQYDK2Vu");
        for text in
            ["", "key", PUBLIC_KEY, &OPENSSL.replace("MC4C", "MC4D"), &OPENSSL.replace("PRIVATE", "ENCRYPTED PRIVATE")]
        {
            assert_eq!(Key::read(written(text).path()).err().unwrap().kind(), ErrorKind::ReportKey, "{text}");
        }
        for text in ["", OPENSSL, &rsa] {
            assert_eq!(PublicKey::read(written(text).path()).err().unwrap().kind(), ErrorKind::ReportKey, "{text}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), abc);
        assert!(
            names(format!("{abc}  a.json\n").as_bytes(), abc) && !names(b"", abc) && !names(&abc.as_bytes()[..63], abc)
        );
    }
}
