//! The store's trouble ends by itself: while there is some, a write is tried until it is on disk.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::{Store, Urgency};

/// Between two tries.
const TRY: Duration = Duration::from_millis(500);

/// Ends the store's trouble when it is over, until `ended`.
pub async fn watch(app: App, ended: CancellationToken) {
    let store = app.store();
    loop {
        tokio::select! { () = store.troubled() => {}, () = ended.cancelled() => return }
        tokio::select! { () = over(store) => store.recovered(), () = ended.cancelled() => return }
    }
}

/// Two proofs with nothing failing in between: a full disk may have room for a row or two.
async fn over(store: &Store) {
    let mut proved = None;
    loop {
        #[expect(clippy::disallowed_methods, reason = "a database in trouble is real, also in a story")]
        tokio::time::sleep(TRY).await;
        let write = store.write(Urgency::Urgent, |tx| async move { tx.prove_writable().await }.boxed());
        let failures = write.await.ok().and_then(|()| store.trouble()).map(|trouble| trouble.failures);
        if failures.is_some() && failures == proved {
            return;
        }
        proved = failures;
    }
}
