//! A TCP proxy in front of the database that delays its answers, loses them, or loses the connection.

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
    pub port: u16,
    control: Arc<Control>,
    _serving: JoinSet<()>,
}

struct Control {
    /// Milliseconds by which each answer comes later.
    delay: AtomicU64,
    /// Answers to commits are lost.
    lossy: AtomicBool,
    /// What is sent in either direction vanishes.
    silent: AtomicBool,
    /// A connection whose commit was lost stays open, in silence.
    hush: AtomicBool,
    /// Connections that were closed as they came.
    refused: AtomicU64,
    /// Each change ends the connections that are open then.
    network: watch::Sender<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Up,
    /// Connections are accepted and closed.
    Cut,
    /// Nobody listens.
    Refused,
}

impl Proxy {
    /// Listens on a free port of loopback and passes everything to `target` (`host:port`).
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = watch::Sender::new(Network::Up);
        let (lossy, refused) = (AtomicBool::new(false), AtomicU64::new(0));
        let (silent, hush) = (AtomicBool::new(false), AtomicBool::new(false));
        let control = Arc::new(Control { delay: AtomicU64::new(0), silent, hush, lossy, refused, network });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, target.to_owned(), control.clone()));
        Self { port, control, _serving: serving }
    }

    /// From now on each answer comes later by this.
    pub fn delay(&self, delay: Duration) {
        self.control.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// From now on the answer to every commit that changed something is lost, and its connection with
    /// it: the database did it, nobody learns that.
    pub fn lose_commits(&self, lossy: bool) {
        self.control.lossy.store(lossy, Ordering::SeqCst);
    }

    /// [`Proxy::lose_commits`], but their connections stay open, in silence.
    pub fn hush_commits(&self, lossy: bool) {
        self.control.hush.store(lossy, Ordering::SeqCst);
        self.lose_commits(lossy);
    }

    /// From now on everything that is sent vanishes without a sign, and connections that lost something
    /// never recover.
    pub fn swallow(&self, silent: bool) {
        self.control.silent.store(silent, Ordering::SeqCst);
    }

    /// Ends all connections and takes no new ones, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.control.network.send_replace(Network::Cut);
    }

    /// Like [`Proxy::cut`], as if the database server were not running.
    pub fn refuse(&self) {
        self.control.network.send_replace(Network::Refused);
    }

    /// How many connections were closed as they came, so far.
    pub fn refused(&self) -> u64 {
        self.control.refused.load(Ordering::SeqCst)
    }

    pub fn restore(&self) {
        self.control.network.send_replace(Network::Up);
    }
}

async fn serve(mut listener: TcpListener, target: String, control: Arc<Control>) {
    let address = listener.local_addr().unwrap();
    loop {
        accept(listener, &target, &control).await;
        let mut network = control.network.subscribe();
        network.wait_for(|network| *network != Network::Refused).await.unwrap();
        listener = TcpListener::bind(address).await.unwrap();
    }
}

/// Until nobody shall listen any more.
async fn accept(listener: TcpListener, target: &str, control: &Arc<Control>) {
    let mut connections = JoinSet::new();
    let mut network = control.network.subscribe();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = network.wait_for(|network| *network == Network::Refused) => return,
        };
        let mut changed = control.network.subscribe();
        if *changed.borrow_and_update() != Network::Up {
            control.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let Ok(server) = TcpStream::connect(target).await else { continue };
        let control = control.clone();
        connections.spawn(async move {
            tokio::select! {
                () = pass(client, server, control) => {}
                _ = changed.changed() => {}
            }
        });
    }
}

async fn pass(client: TcpStream, server: TcpStream, control: Arc<Control>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut asking, mut answered) = client.into_split();
    let (mut answers, mut asked) = server.into_split();
    let (changed, deaf, dead) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let vanishes = || {
        dead.fetch_or(control.silent.load(Ordering::SeqCst), Ordering::SeqCst);
        dead.load(Ordering::SeqCst)
    };
    // A side that is gone ends the connection; that is what it is for. Only silence hides it.
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = asking.read(&mut bytes).await {
            let commits = bytes[..count].windows(7).any(|bytes| bytes == b"commit\0");
            let lost = commits && changed.swap(false, Ordering::SeqCst) && control.lossy.load(Ordering::SeqCst);
            deaf.store(lost, Ordering::SeqCst);
            if vanishes() {
                continue;
            }
            if asked.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = answers.read(&mut bytes).await {
            if vanishes() {
                continue;
            }
            if deaf.load(Ordering::SeqCst) {
                if !control.hush.load(Ordering::SeqCst) {
                    break;
                }
                dead.store(true, Ordering::SeqCst);
                continue;
            }
            changed.fetch_or(has_changed(&bytes[..count]), Ordering::SeqCst);
            let delay = control.delay.load(Ordering::SeqCst);
            if delay > 0 {
                #[expect(clippy::disallowed_methods, reason = "a slow network is real")]
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            if answered.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
        if dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}

/// Do these answers tell of a statement that changed rows?
fn has_changed(answers: &[u8]) -> bool {
    [&b"UPDATE "[..], b"INSERT 0 ", b"DELETE "].into_iter().any(|tag| {
        let mut places = answers.windows(tag.len() + 1);
        places.any(|bytes| bytes.starts_with(tag) && (b'1'..=b'9').contains(&bytes[tag.len()]))
    })
}
