//! Who lives: a daemon registers under its instance, renews that, and frees what dead ones held.

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::limits;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{DEATHS, Reclaimed, Result, Store, Urgency};

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
                let mut dead = tx.expire_leases().await?;
                dead.extend(tx.take_lease(&instance, id, until).await?);
                let reclaimed = tx.reclaim(&dead).await?;
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
    loop {
        pulse.turn();
        tokio::select! {
            () = ended.cancelled() => return,
            () = pulse.asked() => continue,
            () = app.clock().sleep_until(next) => {}
        }
        let now = app.clock().now();
        next = now + third;
        let until = now + lease.as_millis() as i64;
        let instance = instance.clone();
        let renewed = app
            .store()
            .write(Urgency::Urgent, move |tx| {
                async move {
                    tx.take_lease(&instance, id, until).await?;
                    let dead = tx.expire_leases().await?;
                    Ok((tx.reclaim(&dead).await?, tx.live_daemons(now).await?))
                }
                .boxed()
            })
            .await;
        match renewed {
            Ok((reclaimed, daemons)) => {
                limits::share(&app, daemons);
                tell(reclaimed);
            }
            Err(error) if error.is_trouble() => tracing::debug!("the lease could not be renewed: {error}"),
            Err(error) => tracing::warn!("the lease could not be renewed: {error}"),
        }
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
