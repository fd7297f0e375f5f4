//! `GET /api/v1/mappings/export`: all pairs in one file, for reconciliation.
//!
//! Streamed page by page: memory does not grow with the table. The file ends with the number of its
//! rows and the SHA-256 of the data bytes before; without that trailer it was cut off.
//!
//! | format | data bytes | trailer |
//! |---|---|---|
//! | `csv` | everything before the trailer, header line included | last record `#trailer,<rows>,<sha256>`, filled up to the same number of fields |
//! | `ndjson` | all lines before | `{"trailer":{"rows":…,"sha256":"…"}}` |
//! | `json` | the array after `"items":`, with its brackets | member `trailer` |

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::mappings::columns;
use super::{Parameters, instant, seen};
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Mapping, MappingFilter, Store};

/// Column names in their order (`surfaces.md` 2.6).
const COLUMNS: [&str; 13] = [
    "kind",
    "connection",
    "commercetools_id",
    "commercetools_key",
    "commercetools_version",
    "fluent_id",
    "fluent_ref",
    "content_hash",
    "first_seen",
    "last_synced",
    "last_source_change",
    "state",
    "last_message_id",
];
/// Rows of one page.
const PAGE: i64 = 500;

/// What is exported, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    kind: Option<String>,
    #[serde(default)]
    format: Format,
    connection: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Csv,
    Json,
    Ndjson,
}

/// The file.
pub async fn stream(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(asked): Parameters<Asked>,
) -> Result<Response, Problem> {
    actor.may("mappings:export")?;
    seen(&actor, asked.connection.as_deref())?;
    let (media, ending) = match asked.format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Format::Json => ("application/json", "json"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let filter = MappingFilter {
        among: actor.among(),
        connection: asked.connection,
        kind: asked.kind,
        from: instant("from", asked.from.as_deref())?,
        to: instant("to", asked.to.as_deref())?,
        ..MappingFilter::default()
    };
    let export = Export {
        store: surface.queue().app.store().clone(),
        filter,
        format: asked.format,
        rows: 0,
        digest: Sha256::new(),
        at: At::Start,
    };
    let body = Body::from_stream(stream::try_unfold(export, Export::next));
    let disposition = format!("attachment; filename=\"mappings.{ending}\"");
    Ok(([(CONTENT_TYPE, media.to_owned()), (CONTENT_DISPOSITION, disposition)], body).into_response())
}

/// An export under way.
struct Export {
    store: Store,
    filter: MappingFilter,
    format: Format,
    rows: u64,
    digest: Sha256,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Rows,
    End,
}

/// The connection is cut, so that the file has no trailer.
type Cut = Box<dyn std::error::Error + Send + Sync>;

impl Export {
    /// The next piece of the file.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Cut> {
        let piece = match self.at {
            At::End => return Ok(None),
            At::Start => {
                self.at = At::Rows;
                self.head()?
            }
            At::Rows => {
                let page = self.page().await.inspect_err(|error| {
                    tracing::warn!(rows = self.rows, "an export was cut off after {} rows: {error}", self.rows);
                })?;
                match page.is_empty() {
                    true => {
                        self.at = At::End;
                        self.trailer()?
                    }
                    false => self.data(&page)?,
                }
            }
        };
        Ok(Some((Bytes::from(piece), self)))
    }

    async fn page(&mut self) -> Result<Vec<Mapping>, Cut> {
        let page = self.store.read().await?.mappings(&self.filter, PAGE).await?;
        self.filter.after = page.last().map(|pair| pair.id).or(self.filter.after);
        Ok(page)
    }

    fn head(&mut self) -> Result<Vec<u8>, Cut> {
        let (before, data) = match self.format {
            Format::Csv => (Vec::new(), records([COLUMNS])?),
            Format::Json => (br#"{"items":"#.to_vec(), b"[".to_vec()),
            Format::Ndjson => Default::default(),
        };
        self.digest.update(&data);
        Ok([before, data].concat())
    }

    fn data(&mut self, page: &[Mapping]) -> Result<Vec<u8>, Cut> {
        let rows = page.iter().map(columns);
        let data = match self.format {
            Format::Csv => records(rows.map(|row| COLUMNS.map(|name| cell(&row[name]))))?,
            Format::Ndjson => rows.flat_map(|row| format!("{row}\n").into_bytes()).collect(),
            Format::Json => {
                let first = self.rows == 0;
                let comma = |n: usize| if first && n == 0 { "" } else { "," };
                rows.enumerate().flat_map(|(n, row)| format!("{}\n{row}", comma(n)).into_bytes()).collect()
            }
        };
        self.rows += page.len() as u64;
        self.digest.update(&data);
        Ok(data)
    }

    fn trailer(&mut self) -> Result<Vec<u8>, Cut> {
        if self.format == Format::Json {
            self.digest.update(b"\n]");
        }
        let digest: String =
            std::mem::take(&mut self.digest).finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let trailer = json!({"rows": self.rows, "sha256": digest});
        Ok(match self.format {
            Format::Ndjson => format!("{}\n", json!({"trailer": trailer})).into_bytes(),
            Format::Json => format!("\n],\"trailer\":{trailer}}}\n").into_bytes(),
            Format::Csv => {
                let mut fields = COLUMNS.map(|_| String::new());
                fields[..3].clone_from_slice(&["#trailer".into(), self.rows.to_string(), digest]);
                records([fields])?
            }
        })
    }
}

/// Records of RFC 4180.
fn records<R, T>(rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>, Cut>
where
    R: IntoIterator<Item = T>,
    T: AsRef<[u8]>,
{
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.into_inner().map_err(|error| error.to_string())?)
}

/// A value as a cell. A text that a spreadsheet would run as a formula gets an apostrophe in front.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
