//! A server as the user names it: `redis://[user:password@]host:port[/db]`, `rediss://` for TLS.

use std::{fmt, path::PathBuf};

use keyferry_model::{Error, ErrorKind, Result, Side};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 6379;

/// One server. `Display` and `Debug` never show the password.
#[derive(Clone)]
pub struct Endpoint {
    /// Source or target; decides the codes of the errors.
    pub side: Side,
    /// Name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS from the first byte.
    pub tls: bool,
    /// ACL user; `None` for the default user.
    pub user: Option<String>,
    /// Password; `None` when the server asks for none.
    pub password: Option<SecretString>,
    /// The one database of the URL's path; `None` for all.
    pub db: Option<u32>,
    /// PEM file with the CA certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Endpoint {
    /// Reads a URL. Errors say which part is wrong without repeating the URL, since it may hold a password.
    pub fn parse(side: Side, text: &str) -> Result<Self> {
        let bad = |what: &str| Error::new(ErrorKind::BadUrl, format!("read the {side} URL: {what}"));
        let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            "redis-sentinel" | "rediss-sentinel" | "redis-cluster" | "rediss-cluster" | "file" => {
                let what = format!("read the {side} URL: {}: is not supported yet", url.scheme());
                return Err(Error::new(ErrorKind::UnsupportedScheme, what));
            }
            other if text.contains("://") => return Err(bad(&format!("unknown scheme `{other}`"))),
            _ => return Err(bad("it does not begin with redis:// or rediss://")),
        };
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| bad("it names no host"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a `?` or `#` part; write these characters of a password as %3F and %23"));
        }
        let decode = |part: &str, what: &str| {
            percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| bad(&format!("{what} is not UTF-8")))
        };
        let user = Some(decode(url.username(), "the user")?).filter(|u| !u.is_empty());
        let password = url.password().map(|p| decode(p, "the password")).transpose()?.filter(|p| !p.is_empty());
        let db = match url.path().trim_matches('/') {
            "" => None,
            n => Some(n.parse().map_err(|_| bad("the path is not the number of a database"))?),
        };
        Ok(Self {
            side,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            tls,
            user,
            password: password.map(SecretString::from),
            db,
            ca_file: None,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port)?,
            false => write!(f, "{scheme}://{}:{}", self.host, self.port)?,
        }
        self.db.map_or(Ok(()), |db| write!(f, "/{db}"))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn parse(text: &str) -> Result<Endpoint> {
        Endpoint::parse(Side::Source, text)
    }

    #[test]
    fn reads_every_part() {
        let e = parse("rediss://al%40ice:p%3Aw%20d@[::1]:7000/12").unwrap();
        assert_eq!((e.host.as_str(), e.port, e.tls, e.db), ("::1", 7000, true, Some(12)));
        assert_eq!(e.user.as_deref(), Some("al@ice"));
        assert_eq!(e.password.as_ref().unwrap().expose_secret(), "p:w d");
        assert_eq!(e.to_string(), "rediss://[::1]:7000/12");
    }

    #[test]
    fn fills_in_what_is_left_out() {
        let e = parse("redis://cache.example").unwrap();
        assert_eq!((e.host.as_str(), e.port, e.tls, e.db), ("cache.example", 6379, false, None));
        assert!(e.user.is_none() && e.password.is_none());
        assert_eq!(parse("redis://:secret@h").unwrap().password.unwrap().expose_secret(), "secret");
    }

    #[test]
    fn never_repeats_a_bad_url() {
        for bad in ["redis://u:topsecret@", "redis://u:topsecret@h/x", "http://u:topsecret@h", "topsecret:6379", ""] {
            let e = parse(bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::BadUrl, "{bad}");
            assert!(!format!("{e} {e:?}").contains("u:topsecret"), "{e}");
        }
        assert_eq!(parse("redis-cluster://h:1").unwrap_err().kind(), ErrorKind::UnsupportedScheme);
        let shown = format!("{:?}", parse("redis://u:topsecret@h").unwrap());
        assert!(!shown.contains("topsecret"), "{shown}");
    }
}
