//! What the service manager is told (sd_notify, `surfaces.md` 9.1): that we are ready, one line about
//! how far behind we are, signs of life, and that we stop. Without a service manager nothing is sent.

use std::time::Duration;

use futures_util::FutureExt;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Millis;
use crate::store::{Result, Urgency};

/// Between two looks when no watchdog asks for more.
const LOOK: Duration = Duration::from_secs(15);
/// A lane that is less behind than this, in milliseconds, is caught up.
const BEHIND: Millis = 10_000;

/// Says that we are ready, then gives signs of life until `ended`. `leaving` is when the loops end.
///
/// A sign of life follows a proof: the store took a write, and every loop came around. What happens
/// at the remotes does not matter here: no restart of ours would help.
pub async fn report(app: App, leaving: CancellationToken, ended: CancellationToken) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK, |limit| (limit / 2).min(LOOK));
    let mut status = line(&app, &leaving).await;
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    loop {
        let proof = match watchdog {
            None => Ok(()),
            Some(_) => tokio::select! {
                proof = prove(&app, every, &leaving) => proof,
                () = ended.cancelled() => return,
            },
        };
        // After a failure soon again: it has used up time that the watchdog grants.
        let pause = if proof.is_ok() { every } else { every / 8 };
        if watchdog.is_some() && proof.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
        let now = match proof {
            Ok(()) => line(&app, &leaving).await,
            Err(missing) => format!("no sign of life: {missing}"),
        };
        if now != status {
            tell(&[NotifyState::Status(&now)]);
            status = now;
        }
        #[expect(clippy::disallowed_methods, reason = "the service manager's watchdog runs on real time")]
        let rest = tokio::time::sleep(pause);
        tokio::select! { () = rest => {}, () = ended.cancelled() => return }
    }
}

/// Says that we stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told how we are: {error}");
    }
}

/// A write that is on disk, and every loop come around; or what is missing.
async fn prove(app: &App, within: Duration, leaving: &CancellationToken) -> Result<(), String> {
    let write = app.store().write(Urgency::Urgent, |tx| async move { tx.prove_writable().await }.boxed());
    let missing = match tokio::time::timeout(within, write).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("the store took no write for {within:?}")),
    };
    let missing = match missing {
        None => tokio::select! {
            // The loops end with a stop; from then on its deadline is what bounds us.
            () = leaving.cancelled() => None,
            felt = app.pulses().feel(within) => felt.err(),
        },
        missing => missing,
    };
    missing.map_or(Ok(()), |missing| {
        tracing::error!("no sign of life for the service manager: {missing}");
        Err(missing)
    })
}

/// `caught up`, or which lanes are how far behind.
async fn line(app: &App, leaving: &CancellationToken) -> String {
    if leaving.is_cancelled() {
        return "stopping".into();
    }
    match behind(app).await {
        Ok(lanes) if lanes.is_empty() => "caught up".into(),
        Ok(lanes) => lanes.join(", "),
        Err(error) => format!("the store cannot be read: {error}"),
    }
}

async fn behind(app: &App) -> Result<Vec<String>> {
    let now = app.clock().now();
    let mut db = app.store().read().await?;
    let mut lanes = Vec::new();
    for lane in app.config().queue.lanes.keys() {
        let late = db.overdue(lane, None, now).await?.map_or(0, |since| now - since);
        if late >= BEHIND {
            lanes.push(format!("{lane} lane {} behind", rough(late)));
        }
    }
    Ok(lanes)
}

/// `40 s`, `3 min`, `2 h`, `5 days`
fn rough(late: Millis) -> String {
    match late / 1000 {
        seconds @ ..90 => format!("{seconds} s"),
        seconds @ ..5_400 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_told_roughly() {
        for (late, told) in [(10_999, "10 s"), (185_000, "3 min"), (7_300_000, "2 h"), (200_000_000, "2 days")] {
            assert_eq!(rough(late), told);
        }
    }
}
