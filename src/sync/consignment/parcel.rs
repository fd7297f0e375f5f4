//! One Parcel per article, with what the customer needs to follow it (F 7.3, 7.4).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::content::{ArticleContent, Content};
use super::{Round, draft, field, key, same};
use crate::commercetools::action::{
    Action, Contents, CustomDraft, ParcelDraft, ParcelMeasurements, ResourceIdentifier, TrackingData,
};
use crate::commercetools::remembered::{Custom, Delivery, Parcel};
use crate::config::model::{LengthUnit, Measurements, OnParcelGone, TrackingId, WeightUnit};
use crate::fluent::fulfilment::Article;
use crate::sync::custom_fields::{self, Wanted, Writing};
use crate::sync::fulfilment::present;
use crate::sync::slice::{Note, Part};

/// What a URL takes as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Round<'_> {
    /// A Parcel of a new Delivery.
    pub(super) fn new_parcel(&self, article: &ArticleContent, notes: &mut Vec<Note>) -> ParcelDraft {
        let (writing, said) = self.parcel_writing(article.article, None);
        notes.extend(said);
        ParcelDraft {
            key: self.parcel_key(article.article),
            contents: Contents {
                measurements: self.measurements(article.article),
                tracking_data: self.tracking_data(),
                items: article.items.clone(),
                custom: draft(writing),
            },
        }
    }

    /// The Parcels of a Delivery that exists. Those of others are never touched.
    pub(super) fn parcels(&self, delivery: &Delivery, content: &Content, part: &mut Part) {
        let mut matched: Vec<&str> = Vec::new();
        for article in &content.articles {
            match self.find_parcel(delivery, article.article, &matched) {
                Some(parcel) => {
                    matched.push(&parcel.id);
                    self.update_parcel(parcel, article, part);
                }
                None => {
                    let ParcelDraft { key, contents } = self.new_parcel(article, &mut part.notes);
                    let delivery_id = delivery.id.clone();
                    part.actions.push(Action::AddParcelToDelivery { delivery_id, parcel_key: key, parcel: contents });
                }
            }
        }
        let ours = format!("{}-article-", key(self.consignment));
        for parcel in delivery.parcels.iter().filter(|parcel| !matched.contains(&parcel.id.as_str())) {
            let Some(article) = parcel.key.as_deref().and_then(|key| key.strip_prefix(&ours)) else { continue };
            if self.config().on_parcel_gone == OnParcelGone::Remove {
                part.actions.push(Action::RemoveParcelFromDelivery { parcel_id: parcel.id.clone() });
                continue;
            }
            let sentence = format!(
                "Article {} is no longer part of consignment {}; its Parcel was kept.",
                self.field_of(parcel, "article_ref").unwrap_or(article),
                self.consignment.label()
            );
            part.notes.push(Note::new("consignment.parcel_gone", sentence));
        }
    }

    /// By key; one without key by the ref of its article, then by its tracking id.
    fn find_parcel<'d>(&self, delivery: &'d Delivery, article: &Article, matched: &[&str]) -> Option<&'d Parcel> {
        let key = self.parcel_key(article);
        let free = || delivery.parcels.iter().filter(|parcel| !matched.contains(&parcel.id.as_str()));
        let reference = present(article.reference.as_deref());
        let tracking_id = self.tracking_id();
        free().find(|parcel| parcel.key.as_deref() == Some(&key)).or_else(|| {
            let unnamed = || free().filter(|parcel| parcel.key.is_none());
            let of_article =
                |parcel: &&Parcel| reference.is_some() && self.field_of(parcel, "article_ref") == reference;
            let of_tracking = |parcel: &&Parcel| {
                let found = parcel.tracking_data.as_ref().and_then(|data| data.tracking_id.as_deref());
                tracking_id.is_some() && found == tracking_id && self.field_of(parcel, "article_ref").is_none()
            };
            unnamed().find(of_article).or_else(|| unnamed().find(of_tracking))
        })
    }

    fn update_parcel(&self, parcel: &Parcel, article: &ArticleContent, part: &mut Part) {
        let parcel_id = || parcel.id.clone();
        let mut tracking_data = self.tracking_data();
        let found = parcel.tracking_data.clone().unwrap_or_default();
        // A tracking id is never replaced by nothing.
        tracking_data.tracking_id = tracking_data.tracking_id.or_else(|| found.tracking_id.clone());
        if parcel.tracking_data.as_ref() != Some(&tracking_data) {
            part.actions.push(Action::SetParcelTrackingData { parcel_id: parcel_id(), tracking_data });
        }
        if article.is_told && !same(&article.items, &parcel.items) {
            part.actions.push(Action::SetParcelItems { parcel_id: parcel_id(), items: article.items.clone() });
        }
        if let Some(measurements) = self.measurements(article.article)
            && parcel.measurements != Some(measurements)
        {
            part.actions.push(Action::SetParcelMeasurements { parcel_id: parcel_id(), measurements });
        }
        let (writing, notes) = self.parcel_writing(article.article, parcel.custom.as_ref());
        part.notes.extend(notes);
        match writing {
            Writing::Type { key, fields } => {
                let custom = CustomDraft { kind: ResourceIdentifier::custom_type(key), fields };
                part.actions.push(Action::SetParcelCustomType { parcel_id: parcel_id(), custom });
            }
            Writing::Fields(fields) => {
                part.actions.extend(fields.into_iter().map(|(name, value)| Action::SetParcelCustomField {
                    parcel_id: parcel_id(),
                    name,
                    value,
                }))
            }
        }
    }

    fn parcel_writing(&self, article: &Article, found: Option<&Custom>) -> (Writing, Vec<Note>) {
        let types = &self.connection.custom_types;
        let reference = field(&types.parcel, "article_ref").zip(present(article.reference.as_deref()));
        let url = field(&types.parcel, "tracking_url").zip(self.tracking_url());
        let resource = format!("Parcel {} of order {}", self.parcel_key(article), self.order.label());
        let reference = reference.map(|(name, reference)| (name, Value::from(reference)));
        let wanted = Wanted {
            values: reference.into_iter().chain(url.map(|(name, url)| (name, url.into()))).collect(),
            resource: &resource,
            what: "the article",
            max_length: types.max_length,
        };
        custom_fields::write(&wanted, found, &types.parcel, self.known)
    }

    fn parcel_key(&self, article: &Article) -> String {
        format!("{}-article-{}", key(self.consignment), article.id)
    }

    fn field_of<'p>(&self, parcel: &'p Parcel, value: &str) -> Option<&'p str> {
        let name = field(&self.connection.custom_types.parcel, value)?;
        parcel.custom.as_ref()?.fields.get(name)?.as_str()
    }

    fn tracking_id(&self) -> Option<&str> {
        self.config().tracking_id.iter().find_map(|from| match from {
            TrackingId::TrackingLabel => present(self.consignment.tracking_label.as_deref()),
            TrackingId::ConsignmentReference => present(self.consignment.consignment_reference.as_deref()),
        })
    }

    fn tracking_data(&self) -> TrackingData {
        let carrier = self.consignment.carrier.as_ref();
        let owned = |text: Option<&str>| present(text).map(str::to_owned);
        TrackingData {
            tracking_id: owned(self.tracking_id()),
            carrier: owned(carrier.and_then(|carrier| carrier.name.as_deref())),
            provider: owned(carrier.and_then(|carrier| carrier.reference.as_deref())),
            provider_transaction: owned(self.consignment.consignment_reference.as_deref()),
            is_return: false,
        }
    }

    /// The label itself if it is an address, else the template of the carrier.
    fn tracking_url(&self) -> Option<String> {
        let label = present(self.consignment.tracking_label.as_deref());
        let is_url = |text: &&str| text.starts_with("https://") || text.starts_with("http://");
        if let Some(url) = label.filter(is_url) {
            return Some(url.to_owned());
        }
        let carrier = self.consignment.carrier.as_ref().and_then(|carrier| carrier.reference.as_deref())?;
        let template = self.config().tracking_urls.get(carrier)?;
        let id = utf8_percent_encode(self.tracking_id()?, PLAIN).to_string();
        Some(template.replace("{tracking_id}", &id))
    }

    /// Only where the configuration says in which units Fluent's numbers are.
    fn measurements(&self, article: &Article) -> Option<ParcelMeasurements> {
        let Measurements { length_unit, weight_unit } = self.config().measurements?;
        let millimetres = match length_unit {
            LengthUnit::Mm => 1.0,
            LengthUnit::Cm => 10.0,
            LengthUnit::M => 1_000.0,
            LengthUnit::In => 25.4,
        };
        let grams = match weight_unit {
            WeightUnit::G => 1.0,
            WeightUnit::Kg => 1_000.0,
            WeightUnit::Lb => 453.592_37,
        };
        let whole = |number: Option<f64>, factor: f64| number.map(|number| (number * factor).round() as i64);
        Some(ParcelMeasurements {
            height_in_millimeter: whole(article.height, millimetres),
            length_in_millimeter: whole(article.length, millimetres),
            width_in_millimeter: whole(article.width, millimetres),
            weight_in_gram: whole(article.weight, grams),
        })
    }
}
