//! Access tokens: fetched once for all workers, renewed before they expire, thrown away when the
//! remote refuses them.

use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::Error;
use crate::clock::{Clock, Millis};

/// What a token endpoint answered.
pub struct Grant {
    pub token: SecretString,
    /// How long it is valid, as the remote said.
    pub lifetime: Duration,
}

type Fetch = Box<dyn Fn() -> BoxFuture<'static, Result<Grant, Error>> + Send + Sync>;

/// The token cache of one credential. While one caller fetches, the others wait for the same token.
pub struct Credential {
    clock: Clock,
    fetch: Fetch,
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    token: SecretString,
    renew_at: Millis,
}

impl Credential {
    pub fn new(
        clock: Clock,
        fetch: impl Fn() -> BoxFuture<'static, Result<Grant, Error>> + Send + Sync + 'static,
    ) -> Self {
        Self { clock, fetch: Box::new(fetch), held: Mutex::new(None) }
    }

    /// A token that is still valid.
    ///
    /// # Errors
    /// What the token endpoint said.
    pub async fn token(&self) -> Result<SecretString, Error> {
        let mut held = self.held.lock().await;
        if let Some(held) = &*held
            && self.clock.now() < held.renew_at
        {
            return Ok(held.token.clone());
        }
        let grant = (self.fetch)().await?;
        // Five minutes early, but never more than a tenth of the token's life.
        let early = Duration::from_secs(300).min(grant.lifetime / 10);
        let renew_at = self.clock.now() + (grant.lifetime - early).as_millis() as Millis;
        *held = Some(Held { token: grant.token.clone(), renew_at });
        Ok(grant.token)
    }

    /// The remote refused this token: the next caller fetches a new one. Does nothing if it was
    /// replaced meanwhile.
    pub async fn refused(&self, token: &SecretString) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.token.expose_secret() == token.expose_secret()) {
            *held = None;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests run callers side by side")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_callers_one_fetch_and_a_new_one_after_expiry_or_refusal() {
        let (clock, fetched) = (Clock::simulated(0), Arc::new(AtomicUsize::new(0)));
        let count = fetched.clone();
        let credential = Arc::new(Credential::new(clock.clone(), move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok(Grant { token: format!("token-{number}").into(), lifetime: Duration::from_secs(100) })
            }
            .boxed()
        }));
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let credential = credential.clone();
                tokio::task::spawn(async move { credential.token().await.unwrap() })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().expose_secret(), "token-0");
        }
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
        clock.advance(Duration::from_secs(91));
        let second = credential.token().await.unwrap();
        assert_eq!(second.expose_secret(), "token-1");
        credential.refused(&"token-0".into()).await;
        assert_eq!(credential.token().await.unwrap().expose_secret(), "token-1", "an old refusal changes nothing");
        credential.refused(&second).await;
        assert_eq!(credential.token().await.unwrap().expose_secret(), "token-2");
    }
}
