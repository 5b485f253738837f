//! From a host name to a connected stream.

use std::{io, net::SocketAddr, time::Duration};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};

use crate::{Endpoint, Stream, tls};

/// For one address: longer than two lost SYN packets (1 s + 2 s) on a slow link take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves the name anew at each call, so that a moved address is found, and tries every address it has.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Stream> {
    let side = endpoint.side;
    let addrs: Vec<SocketAddr> = lookup_host((endpoint.host.as_str(), endpoint.port))
        .await
        .or_err(ErrorKind::Resolve(side), || format!("look up the {side} host `{}`", endpoint.host))?
        .collect();
    let mut last = None;
    for addr in addrs {
        match timeout(CONNECT_TIMEOUT, open(addr)).await {
            Ok(Ok(tcp)) if endpoint.tls => {
                let tls = tls::handshake(side, &endpoint.host, endpoint.ca_file.as_deref(), tcp);
                return timeout(CONNECT_TIMEOUT, tls)
                    .await
                    .or_err(ErrorKind::Tls(side), || format!("make the TLS handshake with the {side} {endpoint}"))?
                    .map(|s| Stream::Tls(Box::new(s)));
            }
            Ok(Ok(tcp)) => return Ok(Stream::Plain(tcp)),
            Ok(Err(e)) => last = Some(e),
            Err(_) => last = Some(io::Error::new(io::ErrorKind::TimedOut, "no answer within 10 s")),
        }
    }
    let error = Error::new(ErrorKind::Connect(side), format!("connect to the {side} {endpoint}"));
    Err(error.caused_by(last.unwrap_or_else(|| io::Error::other("the name has no address"))))
}

async fn open(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(true)?;
    let tcp = socket.connect(addr).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
