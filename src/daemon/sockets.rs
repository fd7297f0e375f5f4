//! The sockets of the daemon: handed over by systemd (`surfaces.md` 9.1), or bound by ourselves.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use crate::config::model::Server;
use crate::http::{Closing, Door};

/// Senders that may knock at once, after a restart for example. A shorter queue makes some of them wait for a second.
const BACKLOG: i32 = 4096;

/// Sockets that the service manager opened for us and keeps when we end.
#[derive(Debug, Default)]
pub struct Handed {
    http: Vec<std::net::TcpListener>,
    admin: Vec<std::os::unix::net::UnixListener>,
}

/// What the daemon listens on.
pub struct Sockets {
    pub http: Vec<Door<TcpListener>>,
    pub admin: Vec<Door<UnixListener>>,
    /// Does the service manager keep the HTTP sockets when we end?
    pub lent: bool,
    /// Of the first HTTP socket.
    pub address: SocketAddr,
    /// The file of an admin socket that we made, and so remove.
    pub admin_file: Option<PathBuf>,
}

impl Handed {
    /// Takes what was handed to this process, once. Must run while the process has one thread: the
    /// variables that announce the sockets are taken out of the environment, so that no child
    /// believes in them.
    ///
    /// # Errors
    /// A socket whose name (`FileDescriptorName=`) is neither `http` nor `admin`, or of the wrong kind.
    pub fn take() -> anyhow::Result<Self> {
        // Checks LISTEN_PID and keeps the sockets from our children.
        let names: Vec<String> = sd_notify::listen_fds_with_names()
            .context("the sockets that systemd hands over (LISTEN_FDS, LISTEN_FDNAMES)")?
            .map(|(_, name)| name)
            .collect();
        let mut handed = Self::default();
        if names.is_empty() {
            return Ok(handed);
        }
        let mut sockets = ListenFd::from_env();
        for (at, name) in names.iter().enumerate() {
            let place = || format!("socket {name} of systemd");
            match name.as_str() {
                "http" => handed.http.extend(sockets.take_tcp_listener(at).with_context(place)?),
                "admin" => handed.admin.extend(sockets.take_unix_listener(at).with_context(place)?),
                _ => bail!("systemd hands over a socket named {name:?}; FileDescriptorName= is http or admin"),
            }
        }
        Ok(handed)
    }
}

impl Sockets {
    /// Uses what was handed over and binds the rest as configured.
    ///
    /// # Errors
    /// An address or a socket file that is taken.
    pub async fn open(handed: Handed, server: &Server, closing: &Closing) -> anyhow::Result<Self> {
        let mut http = Vec::new();
        let mut addresses = Vec::new();
        for listener in handed.http {
            listener.set_nonblocking(true).context("the http socket of systemd")?;
            let listener = TcpListener::from_std(listener).context("the http socket of systemd")?;
            addresses.push(listener.local_addr()?);
            http.push(Door::lent(listener, closing));
        }
        let mut admin = Vec::new();
        for listener in handed.admin {
            listener.set_nonblocking(true).context("the admin socket of systemd")?;
            let listener = UnixListener::from_std(listener).context("the admin socket of systemd")?;
            admin.push(Door::lent(listener, closing));
        }
        let lent = !http.is_empty();
        if !lent {
            let place = || format!("server.listen {}", server.listen);
            let listener = TcpListener::bind(&server.listen).await.with_context(place)?;
            rustix::net::listen(&listener, BACKLOG).with_context(place)?;
            addresses.push(listener.local_addr()?);
            http.push(Door::own(listener));
        }
        let mut admin_file = None;
        if admin.is_empty() {
            admin.push(Door::own(bind_admin(&server.admin_socket)?));
            admin_file = Some(server.admin_socket.clone());
        }
        Ok(Self { http, admin, lent, address: addresses[0], admin_file })
    }
}

/// The admin socket: whoever may open it acts as admin, so its mode is the access control.
fn bind_admin(path: &Path) -> anyhow::Result<UnixListener> {
    let place = || format!("server.admin_socket {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(place)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("{}: another daemon answers there", place());
    }
    // What is left of a daemon that was killed.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(place)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(place)?;
    Ok(listener)
}
