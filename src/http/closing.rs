//! How the surface stops.
//!
//! First it is not ready any more. On sockets of its own intake then refuses, because whoever is let
//! in now has nobody to come back to. On sockets that the service manager keeps it goes on taking
//! what comes until the work is drained; then the doors are shut, who comes waits in the socket for
//! our successor, and whoever has a connection open learns with an answer that it ends.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How far a stop has come; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    leaving: CancellationToken,
    refusing: CancellationToken,
    parting: CancellationToken,
    requests: TaskTracker,
    guests: TaskTracker,
}

impl Closing {
    /// `/readyz` answers 503.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Intake answers 503.
    pub fn refuse(&self) {
        self.refusing.cancel();
    }

    /// Lent doors are shut, and every answer is the last of its connection.
    pub fn part(&self) {
        self.parting.cancel();
    }

    /// After [`Closing::part`]: waits until nobody is left who came through a lent door.
    pub async fn parted(&self) {
        self.guests.close();
        self.guests.wait().await;
    }

    /// Waits until no request is being answered.
    pub async fn answered(&self) {
        self.requests.close();
        self.requests.wait().await;
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.refusing.is_cancelled()
    }

    pub(super) fn is_parting(&self) -> bool {
        self.parting.is_cancelled()
    }

    /// Held while a request is being answered.
    pub(super) fn request(&self) -> TaskTrackerToken {
        self.requests.token()
    }
}

/// A listening socket, our own or one that outlives us.
pub struct Door<L> {
    listener: L,
    lent: Option<Closing>,
}

/// A connection that is counted while it is open.
pub struct Guest<Io> {
    io: Io,
    _counted: Option<TaskTrackerToken>,
}

impl<L> Door<L> {
    /// Nobody listens here after us: it stays open to the end, so that whoever comes hears why not.
    pub fn own(listener: L) -> Self {
        Self { listener, lent: None }
    }

    /// The service manager keeps the socket.
    pub fn lent(listener: L, closing: &Closing) -> Self {
        Self { listener, lent: Some(closing.clone()) }
    }
}

impl<L: Listener> Listener for Door<L> {
    type Io = Guest<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let Some(closing) = &self.lent else {
            let (io, address) = self.listener.accept().await;
            return (Guest { io, _counted: None }, address);
        };
        tokio::select! {
            biased;
            () = closing.parting.cancelled() => pending().await,
            (io, address) = self.listener.accept() => {
                (Guest { io, _counted: Some(closing.guests.token()) }, address)
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Guest<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Guest<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
