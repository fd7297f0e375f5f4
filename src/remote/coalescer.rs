//! Many callers, one request: look-ups that arrive while a request is on its way become the next
//! request together. Nobody waits for a timer: the first caller goes at once, and under load the
//! batches fill by themselves.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Error, Kind};
use crate::failure::Class;

type Fetch<K, V> = Arc<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, Error>> + Send + Sync>;
type Asked<K, V> = (K, oneshot::Sender<Result<Option<V>, Error>>);

/// Batches look-ups of one kind; clones share the batches.
pub struct Coalescer<K, V> {
    most: usize,
    fetch: Fetch<K, V>,
    state: Arc<Mutex<State<K, V>>>,
}

struct State<K, V> {
    waiting: Vec<Asked<K, V>>,
    running: bool,
}

impl<K, V> Coalescer<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// `fetch` gets up to `most` different keys and answers those that exist.
    pub fn new(
        most: usize,
        fetch: impl Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, Error>> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(Mutex::new(State { waiting: Vec::new(), running: false }));
        Self { most, fetch: Arc::new(fetch), state }
    }

    /// The value of `key`, or `None` if the remote does not have it.
    ///
    /// # Errors
    /// A failed request fails every caller whose key was in it.
    pub async fn find(&self, key: K) -> Result<Option<V>, Error> {
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut state = lock(&self.state);
            state.waiting.push((key, answer));
            !std::mem::replace(&mut state.running, true)
        };
        if start {
            let (most, fetch, state) = (self.most, self.fetch.clone(), self.state.clone());
            #[expect(clippy::disallowed_methods, reason = "a batch belongs to all its callers, not to the first")]
            tokio::spawn(drain(most, fetch, state));
        }
        answered.await.unwrap_or_else(|_| Err(lost()))
    }
}

async fn drain<K, V>(most: usize, fetch: Fetch<K, V>, state: Arc<Mutex<State<K, V>>>)
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    loop {
        let batch = {
            let mut state = lock(&state);
            if state.waiting.is_empty() {
                state.running = false;
                return;
            }
            take(&mut state.waiting, most)
        };
        let keys: Vec<K> = batch.iter().map(|(key, _)| key.clone()).collect::<HashSet<_>>().into_iter().collect();
        // Whoever asked must get an answer, and the next ones their turn.
        let found = AssertUnwindSafe(async { fetch(keys).await }).catch_unwind().await.unwrap_or_else(|_| Err(lost()));
        for (key, answer) in batch {
            let value = found.as_ref().map(|found| found.get(&key).cloned()).map_err(Clone::clone);
            // A caller that went away no longer wants to know.
            let _ = answer.send(value);
        }
    }
}

/// Nothing is known: "does not exist" would be a lie.
fn lost() -> Error {
    Error {
        kind: Kind::Temporary(Class::Network),
        status: 0,
        code: String::new(),
        sentence: "A look-up was lost inside the connector.".into(),
        after: None,
    }
}

/// Up to `most` different keys from the front; equal keys ride along.
fn take<K: Clone + Eq + Hash, V>(waiting: &mut Vec<Asked<K, V>>, most: usize) -> Vec<Asked<K, V>> {
    let mut keys = HashSet::new();
    let mut end = 0;
    for (key, _) in waiting.iter() {
        if keys.len() == most && !keys.contains(key) {
            break;
        }
        keys.insert(key.clone());
        end += 1;
    }
    waiting.drain(..end).collect()
}

fn lock<K, V>(state: &Mutex<State<K, V>>) -> MutexGuard<'_, State<K, V>> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<K, V> Clone for Coalescer<K, V> {
    fn clone(&self) -> Self {
        Self { most: self.most, fetch: self.fetch.clone(), state: self.state.clone() }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests run callers side by side")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn look_ups_during_a_request_become_one_request() {
        let (requests, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let coalescer = Coalescer::new(50, {
            let (requests, gate) = (requests.clone(), gate.clone());
            move |keys: Vec<u32>| {
                let (requests, gate) = (requests.clone(), gate.clone());
                async move {
                    requests.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, key * 10)).collect())
                }
                .boxed()
            }
        });
        let ask = |key| {
            let coalescer = coalescer.clone();
            tokio::task::spawn(async move { coalescer.find(key).await.unwrap() })
        };
        let mut asked = vec![ask(0)];
        while requests.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        asked.extend((1..21).map(ask));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        for (key, asked) in asked.into_iter().enumerate() {
            assert_eq!(asked.await.unwrap(), (key % 2 == 0).then_some(key as u32 * 10));
        }
        assert_eq!(requests.load(Ordering::SeqCst), 2, "the first key alone, all others together");
    }

    #[tokio::test]
    async fn a_lost_look_up_does_not_say_that_there_is_nothing() {
        let coalescer = Coalescer::new(50, |keys: Vec<u32>| {
            assert!(!keys.contains(&7), "a bug");
            async move { Ok(keys.into_iter().map(|key| (key, key)).collect()) }.boxed()
        });
        let lost = coalescer.find(7).await.unwrap_err();
        assert_eq!(lost.kind, Kind::Temporary(Class::Network));
        assert_eq!(coalescer.find(8).await.unwrap(), Some(8), "the next ones have their turn");
    }
}
