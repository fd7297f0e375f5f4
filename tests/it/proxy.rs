//! A TCP proxy in front of the database that delays its answers, or loses the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::database::Database;

/// A proxy in front of a Postgres database, and the address to reach it there.
pub async fn through(database: &Database) -> (Proxy, String) {
    let address = database.url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let proxy = Proxy::start(address).await;
    let url = database.url.replace(address, &format!("127.0.0.1:{}", proxy.port));
    (proxy, url)
}

/// Runs while it is held.
pub struct Proxy {
    port: u16,
    control: Arc<Control>,
    _serving: JoinSet<()>,
}

struct Control {
    /// Milliseconds by which each answer comes later.
    delay: AtomicU64,
    up: AtomicBool,
    refused: AtomicU64,
    /// Counts cuts; each ends the connections that are open then.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Listens on a free port of loopback and passes everything to `target` (`host:port`).
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let control = Arc::new(Control {
            delay: AtomicU64::new(0),
            up: AtomicBool::new(true),
            refused: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
        });
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, target.to_owned(), control.clone()));
        Self { port, control, _serving: serving }
    }

    /// From now on each answer comes later by this.
    pub fn delay(&self, delay: Duration) {
        self.control.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Ends all connections and takes no new ones, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.control.up.store(false, Ordering::SeqCst);
        self.control.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections were refused so far.
    pub fn refused(&self) -> u64 {
        self.control.refused.load(Ordering::SeqCst)
    }

    pub fn restore(&self) {
        self.control.up.store(true, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, target: String, control: Arc<Control>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if !control.up.load(Ordering::SeqCst) {
            control.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let Ok(server) = TcpStream::connect(&target).await else { continue };
        let (control, mut cuts) = (control.clone(), control.cuts.subscribe());
        connections.spawn(async move {
            tokio::select! {
                () = pass(client, server, control) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn pass(client: TcpStream, server: TcpStream, control: Arc<Control>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut asking, mut answered) = client.into_split();
    let (mut answers, mut asked) = server.into_split();
    let there = async {
        // A side that is gone ends the connection; that is what it is for.
        let _ = tokio::io::copy(&mut asking, &mut asked).await;
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = answers.read(&mut bytes).await {
            let delay = control.delay.load(Ordering::SeqCst);
            if delay > 0 {
                #[expect(clippy::disallowed_methods, reason = "a slow network is real")]
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            if answered.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}
