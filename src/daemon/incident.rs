//! The store's trouble: a disk that becomes low is noticed before it is full, and trouble ends by itself.
//! While there is some, a write is tried until it is on disk.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::{Store, Urgency};

/// Between two tries.
const TRY: Duration = Duration::from_millis(500);

/// Between two looks at the disk.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the disk, and ends the store's trouble when it is over, until `ended`.
pub async fn watch(app: App, ended: CancellationToken) {
    let store = app.store();
    loop {
        tokio::select! { () = troubled(store) => {}, () = ended.cancelled() => return }
        tokio::select! { () = over(store) => store.recovered(), () = ended.cancelled() => return }
    }
}

/// Returns when something failed, or the disk is low.
async fn troubled(store: &Store) {
    while store.look_at_disk().is_ok() {
        #[expect(clippy::disallowed_methods, reason = "a disk fills up in real time, also in a story")]
        let look = tokio::time::sleep(LOOK);
        tokio::select! { () = store.troubled() => return, () = look => {} }
    }
}

/// Two proofs with nothing failing in between: a full disk may have room for a row or two.
async fn over(store: &Store) {
    let mut proved = None;
    loop {
        #[expect(clippy::disallowed_methods, reason = "a database in trouble is real, also in a story")]
        tokio::time::sleep(TRY).await;
        let write = store.write(Urgency::Urgent, |tx| async move { tx.prove_writable().await }.boxed());
        let written = write.await.and_then(|()| store.look_at_disk());
        let failures = written.ok().and_then(|()| store.trouble()).map(|trouble| trouble.failures);
        if failures.is_some() && failures == proved {
            return;
        }
        proved = failures;
    }
}
