//! A proxy in front of a server, whose faults the test chooses.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// Bytes that are passed on at once: small, so that a cut falls anywhere.
const PIECE: usize = 16 * 1024;
/// How often a stalled connection looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

/// Passes connections on to one server, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Bytes a second towards the server; 0 for no limit.
    rate: AtomicU64,
    stalled: AtomicBool,
    refusing: AtomicBool,
    ended: AtomicBool,
    /// Bytes towards the server until the connection is cut, when that was asked for.
    cut_after: Mutex<Option<u64>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface and connects to `server`, such as `127.0.0.1:6379`.
    pub fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (of_thread, server) = (Arc::clone(&shared), server.to_owned());
        thread::spawn(move || accept(&listener, &server, &of_thread));
        Ok(Self { address, shared })
    }

    /// The URL by which the server is reached through the proxy.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Limits what goes to the server to so many bytes a second; 0 ends the limit.
    pub fn limit(&self, bytes_per_second: u64) {
        self.shared.rate.store(bytes_per_second, SeqCst);
    }

    /// Passes nothing on in either direction, without closing anything, until it is called with `false`.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, SeqCst);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes each new connection at once, until it is called with `false`.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, SeqCst);
    }

    /// Closes all connections when so many more bytes have gone to the server.
    pub fn cut_after(&self, bytes: u64) {
        *lock(&self.shared.cut_after) = Some(bytes);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.cut();
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, server: &str, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.refusing.load(SeqCst) {
            continue;
        }
        // Dropping the client tells it that nobody is there.
        let Ok(server) = TcpStream::connect(server) else { continue };
        let clones = || {
            let of = |stream: &TcpStream| stream.try_clone();
            Ok::<_, std::io::Error>([of(&client)?, of(&server)?, of(&client)?, of(&server)?])
        };
        let Ok([to_client, from_server, kept_client, kept_server]) = clones() else { continue };
        lock(&shared.open).extend([kept_client, kept_server]);
        for (from, to, counted) in [(client, server, true), (from_server, to_client, false)] {
            let shared = Arc::clone(shared);
            thread::spawn(move || pump(from, to, counted, &shared));
        }
    }
}

/// Passes on until one end closes. `counted`: towards the server.
fn pump(mut from: TcpStream, mut to: TcpStream, counted: bool, shared: &Shared) {
    let mut piece = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        while shared.stalled.load(SeqCst) && !shared.ended.load(SeqCst) {
            thread::sleep(LOOK);
        }
        let mut n = n;
        let mut cut = false;
        if counted && let Some(left) = lock(&shared.cut_after).as_mut() {
            cut = *left <= n as u64;
            n = n.min(usize::try_from(*left).unwrap_or(n));
            *left -= n as u64;
        }
        if to.write_all(&piece[..n]).is_err() {
            break;
        }
        if cut {
            *lock(&shared.cut_after) = None;
            for stream in lock(&shared.open).drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            break;
        }
        let rate = shared.rate.load(SeqCst);
        if counted && rate > 0 {
            thread::sleep(Duration::from_secs_f64(n as f64 / rate as f64));
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
