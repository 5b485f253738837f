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

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Passes connections on to one server, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the server listens.
    server: Mutex<String>,
    /// Bytes a second each way; 0 for no limit.
    rate: [AtomicU64; 2],
    stalled: AtomicBool,
    refusing: AtomicBool,
    ended: AtomicBool,
    /// Bytes each way until all connections are cut, when that was asked for.
    cut_after: [Mutex<Option<u64>>; 2],
    open: Mutex<Vec<Arc<Pair>>>,
}

/// One connection, with its two ends.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// It ends with RST instead of FIN.
    reset: AtomicBool,
    closed: AtomicBool,
}

impl Pair {
    fn cut(&self) {
        self.closed.store(true, SeqCst);
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whoever reads from it wakes up; the last one who lets go of it sends RST.
    fn reset(&self) {
        self.reset.store(true, SeqCst);
        self.closed.store(true, SeqCst);
        for stream in [&self.client, &self.server] {
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::ToServer => (&self.client, &self.server),
            Way::ToClient => (&self.server, &self.client),
        }
    }
}

impl Proxy {
    /// Listens on a free port of the loopback interface and connects to `server`, such as `127.0.0.1:6379`.
    pub fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: Mutex::new(server.to_owned()),
            rate: Default::default(),
            stalled: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            cut_after: Default::default(),
            open: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &of_thread));
        Ok(Self { address, shared })
    }

    /// The URL by which the server is reached through the proxy.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Leads new connections to another server.
    pub fn redirect(&self, server: &str) {
        server.clone_into(&mut lock(&self.shared.server));
    }

    /// Limits what goes to the server to so many bytes a second; 0 ends the limit.
    pub fn limit(&self, bytes_per_second: u64) {
        self.limit_way(Way::ToServer, bytes_per_second);
    }

    /// Limits what goes one way on each connection to so many bytes a second; 0 ends the limit.
    pub fn limit_way(&self, way: Way, bytes_per_second: u64) {
        self.shared.rate[way as usize].store(bytes_per_second, SeqCst);
    }

    /// Passes nothing on in either direction, without closing anything, until it is called with `false`.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, SeqCst);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        lock(&self.shared.open).drain(..).for_each(|pair| pair.cut());
    }

    /// Ends all connections with RST, which also throws away what is on its way.
    pub fn reset(&self) {
        lock(&self.shared.open).drain(..).for_each(|pair| pair.reset());
    }

    /// Closes each new connection at once, until it is called with `false`.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, SeqCst);
    }

    /// Closes all connections when so many more bytes have gone to the server.
    pub fn cut_after(&self, bytes: u64) {
        self.cut_after_way(Way::ToServer, Some(bytes));
    }

    /// Closes all connections when so many more bytes have gone one way; `None` takes that back.
    pub fn cut_after_way(&self, way: Way, bytes: Option<u64>) {
        *lock(&self.shared.cut_after[way as usize]) = bytes;
    }

    /// Ends every fault but for connections that are gone already.
    pub fn heal(&self) {
        self.stall(false);
        self.refuse(false);
        for way in [Way::ToServer, Way::ToClient] {
            self.limit_way(way, 0);
            self.cut_after_way(way, None);
        }
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.refusing.load(SeqCst) {
            continue;
        }
        let server = lock(&shared.server).clone();
        // Dropping the client tells it that nobody is there.
        let Ok(server) = TcpStream::connect(server) else { continue };
        let pair = Arc::new(Pair { client, server, reset: AtomicBool::new(false), closed: AtomicBool::new(false) });
        {
            let mut open = lock(&shared.open);
            open.retain(|pair| !pair.closed.load(SeqCst));
            open.push(Arc::clone(&pair));
        }
        for way in [Way::ToServer, Way::ToClient] {
            let (shared, pair) = (Arc::clone(shared), Arc::clone(&pair));
            thread::spawn(move || pump(&pair, way, &shared));
        }
    }
}

/// Passes on until one end closes.
fn pump(pair: &Pair, way: Way, shared: &Shared) {
    let (mut from, mut to) = pair.ends(way);
    let mut piece = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        while shared.stalled.load(SeqCst) && !shared.ended.load(SeqCst) {
            thread::sleep(LOOK);
        }
        let mut n = n;
        let mut cut = false;
        if let Some(left) = lock(&shared.cut_after[way as usize]).as_mut() {
            cut = *left <= n as u64;
            n = n.min(usize::try_from(*left).unwrap_or(n));
            *left -= n as u64;
        }
        if to.write_all(&piece[..n]).is_err() {
            break;
        }
        if cut {
            *lock(&shared.cut_after[way as usize]) = None;
            lock(&shared.open).drain(..).for_each(|pair| pair.cut());
            break;
        }
        let rate = shared.rate[way as usize].load(SeqCst);
        if rate > 0 {
            thread::sleep(Duration::from_secs_f64(n as f64 / rate as f64));
        }
    }
    if pair.reset.load(SeqCst) {
        return;
    }
    pair.cut();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
