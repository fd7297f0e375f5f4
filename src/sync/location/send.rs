//! Making a Channel so as its location is (F 3.3 to 3.5). A Channel with the key that is not ours yet is
//! adopted; every write is guarded by the key or by the version.

use serde_json::json;

use super::{Extra, KIND, Target, Write, channel_key, inbox, is_in_scope, left_out, project, project_gone};
use crate::app::{App, Connection};
use crate::commercetools::channel::Channel;
use crate::commercetools::known::Known;
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::fluent::stock::Location;
use crate::queue::{Message, Note};
use crate::remote::{Error, Kind};
use crate::store::{Mapping, MappingFilter};
use crate::sync::catalogue::set_extra;
use crate::sync::connection;

/// Rounds of reading and writing while others change the same Channel (F 1.7).
const ROUNDS: u32 = 5;

/// `commercetools.set-channel`: makes sure that the location's Channel is up to date.
///
/// # Errors
/// Rejected with the sentences of F 3.6.
pub async fn send(app: App, message: Message) -> Outcome {
    let target: Target = message.payload()?;
    let connection = connection(&app, &message)?;
    let config = &connection.config.location;
    if !config.enabled {
        return skip(Skip::Ignored, "Locations are switched off for this connection.");
    }
    let location = inbox::read(&message, connection, &target.id).await?;
    let row = app.store().read().await?.mapping_by_fluent_ref(message.connection(), KIND, &target.reference).await?;
    let present = location.filter(|location| is_in_scope(location, &connection.config));
    let step = Step { app: &app, message: &message, connection, target: &target };
    match (present, row) {
        (Some(location), row) => step.transfer(&location, row).await,
        (None, Some(row)) if row.state == "active" => step.close(row).await,
        (None, Some(_)) => {
            message.unchanged();
            Ok(())
        }
        (None, None) => {
            let location = Location { reference: Some(target.reference.clone()), ..blank(&target.id) };
            skip(Skip::Ignored, left_out(&location, config).to_string())
        }
    }
}

/// One message at work.
struct Step<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    target: &'a Target,
}

impl Step<'_> {
    async fn transfer(&self, location: &Location, row: Option<Mapping>) -> Outcome {
        let config = &self.connection.config.location;
        let key = match &row {
            // Stored once, never recomputed.
            Some(Mapping { commercetools_key: Some(key), .. }) => key.clone(),
            _ => channel_key(&self.target.reference, config),
        };
        self.check_owner(&key).await?;
        let adopted = |channel: &Channel| {
            let ours = row.as_ref().is_some_and(|row| row.commercetools_id == channel.id);
            match (ours, config.adopt) {
                (true, _) => Ok(None),
                (false, true) => Ok(Some(self.adoption(&key))),
                (false, false) => Err(Failure::rejected(format!(
                    "Channel {key} exists already, and location.adopt is off; location {} needs another channel_key.",
                    self.target.reference
                ))),
            }
        };
        let mut made = false;
        let (channel, wrote) = self
            .write(&key, |channel, known| {
                let adoption = channel.filter(|_| !made).map(adopted).transpose()?.flatten();
                let (write, mut notes) = project(location, channel, known, &self.connection.config)?;
                notes.extend(adoption);
                made |= matches!(write, Write::Create(_));
                Ok((write, notes))
            })
            .await?;
        let extra = Extra { updated_on: location.updated_on.clone(), status: location.status.clone() };
        self.remember(row, &channel, Some(&location.id), &extra, "active");
        match wrote {
            false => self.message.unchanged(),
            true => self.message.tell(format!("Channel {key} follows location {}", location.label())),
        }
        Ok(())
    }

    /// The Channel of a location that is gone, or left the networks.
    async fn close(&self, row: Mapping) -> Outcome {
        let key = row.commercetools_key.clone().unwrap_or_default();
        let Some(mut channel) = self.connection.commercetools.on(self.message.call()).channel(&key).await? else {
            return skip(Skip::Ignored, format!("Channel {key} does not exist any more."));
        };
        let mut noted = Vec::new();
        let mut rounds = 0;
        let known = self.known(Some(&channel)).await?;
        loop {
            let (write, notes) = project_gone(&self.target.reference, &channel, &known, &self.connection.config);
            noted = if noted.is_empty() { notes } else { noted };
            match self.attempt(write, Some(channel.clone()), &mut rounds).await? {
                Some(written) => {
                    channel = written.0;
                    break;
                }
                None => match self.connection.commercetools.on(self.message.call()).channel(&key).await? {
                    Some(fresh) => channel = fresh,
                    None => return skip(Skip::Ignored, format!("Channel {key} does not exist any more.")),
                },
            }
        }
        noted.into_iter().for_each(|note| self.message.note(note));
        let extra = Extra::default();
        let id = row.fluent_id.clone();
        self.remember(Some(row), &channel, id.as_deref(), &extra, "inactive");
        self.message.tell(format!("Channel {key} is marked INACTIVE"));
        Ok(())
    }

    /// Reads, computes and writes until it is done; answers the Channel, and whether anything was written.
    async fn write(
        &self,
        key: &str,
        mut compute: impl FnMut(Option<&Channel>, &Known) -> Result<(Write, Vec<Note>), Failure>,
    ) -> Result<(Channel, bool), Failure> {
        let commercetools = self.connection.commercetools.on(self.message.call());
        let mut rounds = 0;
        let mut noted: Vec<Note> = Vec::new();
        loop {
            let channel = commercetools.channel(key).await?;
            let known = self.known(channel.as_ref()).await?;
            let (write, notes) = compute(channel.as_ref(), &known)?;
            noted.extend(
                notes.into_iter().filter(|note| noted.iter().all(|told| told.code != note.code)).collect::<Vec<_>>(),
            );
            if let Some(written) = self.attempt(write, channel, &mut rounds).await? {
                noted.into_iter().for_each(|note| self.message.note(note));
                return Ok(written);
            }
        }
    }

    /// Sends once. `None`: what is there now has to be looked at.
    async fn attempt(
        &self,
        write: Write,
        channel: Option<Channel>,
        rounds: &mut u32,
    ) -> Result<Option<(Channel, bool)>, Failure> {
        let commercetools = self.connection.commercetools.on(self.message.call());
        let sent = match (write, channel) {
            (Write::Nothing, Some(channel)) => return Ok(Some((channel, *rounds > 0))),
            (Write::Create(draft), _) => commercetools.create_channel(&draft).await,
            (Write::Update { id, version, actions }, _) => commercetools.update_channel(&id, version, &actions).await,
            (Write::Nothing, None) => return Err(Failure::retry(Class::Stale, "The Channel vanished meanwhile.")),
        };
        let error = match sent {
            Ok(channel) => return Ok(Some((channel, true))),
            Err(error) => error,
        };
        let look = matches!(error.kind, Kind::Temporary(Class::Conflict | Class::UnknownOutcome))
            || error.code == "DuplicateField"
            || error.status == 404;
        *rounds += 1;
        match look && *rounds < ROUNDS {
            true => Ok(None),
            false => Err(explained(error)),
        }
    }

    /// The Types that the fields are written in.
    async fn known(&self, channel: Option<&Channel>) -> Result<Known, Failure> {
        let commercetools = self.connection.commercetools.on(self.message.call());
        let mut known = Known::default();
        known.types.extend(commercetools.type_by_key(&self.connection.config.custom_types.channel.key).await?);
        let theirs = channel.and_then(|channel| channel.custom.as_ref()).and_then(|custom| custom.kind.id.clone());
        if let Some(id) = theirs.filter(|id| known.types.iter().all(|known| known.id != *id)) {
            known.types.extend(commercetools.type_by_id(&id).await?);
        }
        Ok(known)
    }

    /// Two locations never share a Channel.
    async fn check_owner(&self, key: &str) -> Result<(), Failure> {
        let filter = MappingFilter {
            connection: Some(self.message.connection().to_owned()),
            kind: Some(KIND.to_owned()),
            commercetools_key: Some(key.to_owned()),
            ..MappingFilter::default()
        };
        let rows = self.app.store().read().await?.mappings(&filter, 2).await?;
        let reference = Some(self.target.reference.as_str());
        match rows.iter().find(|row| row.fluent_ref.as_deref() != reference) {
            None => Ok(()),
            Some(other) => Err(Failure::rejected(format!(
                "Channel {key} is already mapped to location {}; location {} needs another channel_key.",
                other.fluent_ref.as_deref().unwrap_or_default(),
                self.target.reference
            ))),
        }
    }

    fn adoption(&self, key: &str) -> Note {
        let sentence =
            format!("Channel {key} existed before; it is now kept up to date from location {}.", self.target.reference);
        Note::new("location.adopted", sentence)
    }

    /// Commits the pair with the outcome; stock that waited for the Channel goes on.
    fn remember(&self, row: Option<Mapping>, channel: &Channel, id: Option<&str>, extra: &Extra, state: &str) {
        let mut fresh = Mapping::new(self.message.connection(), KIND, &channel.id);
        fresh.commercetools_key = Some(channel.key.clone());
        fresh.commercetools_version = channel.version;
        fresh.fluent_id = id.map(str::to_owned);
        fresh.fluent_ref = Some(self.target.reference.clone());
        fresh.state = state.to_owned();
        fresh.last_message = Some(self.message.id());
        set_extra(&mut fresh, &json!(extra));
        let replaced = row.filter(|row| row.commercetools_id != channel.id);
        let place = format!("channel:{}", self.target.reference);
        self.message.with(move |tx| {
            Box::pin(async move {
                if let Some(replaced) = replaced {
                    tx.forget_mapping(replaced.id).await?;
                }
                tx.put_mapping(&fresh).await?;
                tx.arrived(&fresh.connection, &place).await.map(|_| ())
            })
        });
    }
}

fn explained(error: Error) -> Failure {
    if error.code == "MaxResourceLimitExceeded" {
        return Failure::rejected(format!("commercetools accepts no more Channels ({}).", error.sentence));
    }
    error.into()
}

/// Nothing but its id is known.
fn blank(id: &str) -> Location {
    Location {
        id: id.to_owned(),
        reference: None,
        kind: None,
        status: None,
        name: None,
        support_phone_number: None,
        updated_on: None,
        retailer: None,
        attributes: None,
        opening_schedule: None,
        primary_address: None,
        networks: None,
    }
}
