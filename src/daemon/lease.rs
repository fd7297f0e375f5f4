//! Who lives: a daemon registers under its instance, renews that, and frees what dead ones held.

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::limits;
use crate::app::App;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::store::{DEATHS, Lease, Reclaimed, Result, Store, Urgency};

/// Registers this daemon and frees what its predecessor held: an instance has one daemon, so whoever
/// held the lease is gone, and nothing waits for it to run out.
///
/// # Errors
/// When the store does not take it.
pub async fn take_over(store: &Store, config: &Config, clock: &Clock, id: Uuid) -> Result<()> {
    let instance = instance(store, config, id);
    let until = clock.now() + config.queue.lease.millis();
    let (reclaimed, moved) = store
        .write(Urgency::Urgent, move |tx| {
            async move {
                tx.prove_writable().await?;
                let before = tx.take_lease(&instance, id, until).await?;
                let reclaimed = tx.reclaim(before.as_slice()).await?;
                Ok((reclaimed, tx.follow_clock_back().await?))
            }
            .boxed()
        })
        .await?;
    tell(reclaimed);
    if moved > 0 {
        tracing::warn!("the system clock was set back while nothing ran; {moved} messages that waited follow it");
    }
    Ok(())
}

/// Gives the lease back: a clean stop. What could not be handed back one by one is free with it.
///
/// # Errors
/// When the store does not take it; then the lease runs out by itself, or the next start takes over.
pub async fn give_back(store: &Store, id: Uuid) -> Result<()> {
    store
        .write(Urgency::Urgent, move |tx| {
            async move {
                tx.give_back(id).await?;
                tx.drop_lease(id).await
            }
            .boxed()
        })
        .await
}

/// Renews the lease and frees what dead daemons held, until `ended`.
pub async fn heartbeat(app: App, id: Uuid, ended: CancellationToken) {
    let lease = app.config().queue.lease.0;
    let instance = instance(app.store(), app.config(), id);
    let pulse = app.pulses().join("heartbeat");
    let third = (lease / 3).as_millis() as i64;
    let mut next = app.clock().now() + third;
    let mut seen = Seen::default();
    loop {
        pulse.turn();
        tokio::select! {
            () = ended.cancelled() => return,
            () = pulse.asked() => continue,
            () = app.clock().sleep_until(next) => {}
        }
        let now = app.clock().now();
        next = now + third;
        let length = lease.as_millis() as i64;
        let (instance, last_seen) = (instance.clone(), seen.clone());
        let renewed = app
            .store()
            .write(Urgency::Urgent, move |tx| {
                async move {
                    tx.take_lease(&instance, id, now + length).await?;
                    let seen = last_seen.look(tx.leases().await?, now);
                    let mut dead = Vec::new();
                    for lease in seen.silent(id, now - length) {
                        dead.extend(tx.bury(lease).await?.then_some(lease.daemon));
                    }
                    Ok((tx.reclaim(&dead).await?, tx.live_daemons().await?, seen))
                }
                .boxed()
            })
            .await;
        match renewed {
            Ok((reclaimed, daemons, now_seen)) => {
                seen = now_seen;
                limits::share(&app, daemons);
                tell(reclaimed);
            }
            Err(error) if error.is_trouble() => tracing::debug!("the lease could not be renewed: {error}"),
            Err(error) => tracing::warn!("the lease could not be renewed: {error}"),
        }
    }
}

/// Leases as this daemon saw them, each with when it first saw it like that, by its own clock, which
/// never jumps: a daemon is dead when its lease did not move for as long as a lease lasts, whatever
/// its machine takes for the time.
#[derive(Clone, Default)]
struct Seen(Vec<(Lease, Millis)>);

impl Seen {
    fn look(&self, leases: Vec<Lease>, now: Millis) -> Self {
        let since = |lease: &Lease| self.0.iter().find(|(before, _)| before == lease).map_or(now, |(_, since)| *since);
        Self(leases.into_iter().map(|lease| (lease.clone(), since(&lease))).collect())
    }

    /// Those of others that have not moved since before this time.
    fn silent(&self, own: Uuid, before: Millis) -> impl Iterator<Item = &Lease> {
        let silent = move |(lease, since): &&(Lease, Millis)| lease.daemon != own && *since < before;
        self.0.iter().filter(silent).map(|(lease, _)| lease)
    }
}

fn tell(reclaimed: Reclaimed) {
    let Reclaimed { ready, parked } = reclaimed;
    if ready > 0 {
        tracing::warn!("{ready} messages of a daemon that is gone run again");
    }
    if parked > 0 {
        tracing::error!("{parked} messages are parked: {DEATHS} daemons in a row died while they ran");
    }
}

/// What tells this daemon from the others on the same database, and is the same after a restart.
fn instance(store: &Store, config: &Config, id: Uuid) -> String {
    if store.database() == "sqlite" {
        return "sqlite".into();
    }
    // Under our unit /proc shows processes only (ProcSubset=pid); in a container it is what differs.
    let names = ["/proc/sys/kernel/hostname", "/etc/hostname", "/etc/machine-id"];
    let names = names.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let host: Vec<String> = names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if host.is_empty() {
        // Better nobody's successor than that of a daemon that lives.
        return id.to_string();
    }
    format!("{}:{}", host.join("/"), config.server.admin_socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_stands_still_is_silent_whatever_time_it_names() {
        let [own, ahead, behind]: [Uuid; 3] = [(); 3].map(|()| Uuid::now_v7());
        let lease = |daemon, until| Lease { daemon, until };
        let silent = |seen: &Seen, before| seen.silent(own, before).map(|lease| lease.daemon).collect::<Vec<_>>();
        // One machine is a day ahead, one a day behind; both live at first.
        let (day, first) = (86_400_000, 1_000);
        let all = [lease(own, 61_000), lease(ahead, day), lease(behind, -day)];
        let seen = Seen::default().look(all.to_vec(), first);
        assert_eq!(silent(&seen, first), Vec::<Uuid>::new(), "just seen");
        let seen = seen.look(vec![lease(own, 81_000), lease(ahead, day), lease(behind, 20_000 - day)], first + 20_000);
        assert_eq!(silent(&seen, first), Vec::<Uuid>::new(), "not yet for as long as a lease");
        assert_eq!(silent(&seen, first + 1), [ahead], "though its lease ends in a day");
        // It was only slow: what moves is seen anew.
        let seen = seen.look(vec![lease(own, 101_000), lease(ahead, day + 20_000)], first + 40_000);
        assert_eq!(silent(&seen, first + 40_000), Vec::<Uuid>::new());
    }
}
