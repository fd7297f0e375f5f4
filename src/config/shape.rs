//! What a key may hold, read from the JSON Schema that is generated from the structs.
//!
//! Validation, merging, environment variables and `config schema` all ask here, so that the structs
//! stay the only description of the configuration.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use super::model::Config;

/// One kind of value.
#[derive(Debug)]
pub enum Shape<'s> {
    /// Fixed keys.
    Struct(&'s Map<String, Json>),
    /// Free keys, all with this schema.
    Map(&'s Json),
    /// Items of this schema.
    List(&'s Json),
    /// One of these words.
    Choice(Vec<&'s str>),
    /// Text with a grammar of its own: Span, Size, Share, Rate or Pace.
    Written(&'s str),
    Secret,
    Text,
    Boolean,
    Number(Range),
}

/// What a number may be.
#[derive(Debug)]
pub struct Range {
    pub whole: bool,
    pub least: Option<f64>,
    pub more_than: Option<f64>,
    pub most: Option<f64>,
}

/// JSON Schema of [`Config`] without references, as the structs have it: every key is required.
pub fn of_config() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// Reads one schema.
pub fn shape(schema: &Json) -> Shape<'_> {
    let schema = not_null(schema);
    if let Some(kind) = schema.get("x-value").and_then(Json::as_str) {
        return if kind == "Secret" { Shape::Secret } else { Shape::Written(kind) };
    }
    if let Some(words) = choice(schema) {
        return Shape::Choice(words);
    }
    if let Some(Json::Object(properties)) = schema.get("properties") {
        return Shape::Struct(properties);
    }
    match (schema.get("items"), schema.get("additionalProperties"), word_of_type(schema)) {
        (Some(items), ..) => Shape::List(items),
        (_, Some(values), _) => Shape::Map(values),
        (.., "boolean") => Shape::Boolean,
        (.., kind @ ("integer" | "number")) => Shape::Number(range(schema, kind == "integer")),
        _ => Shape::Text,
    }
}

/// May the value be `null` and mean it? (`null` as the value of a fixed key resets it.)
pub fn nullable(schema: &Json) -> bool {
    let in_type = schema.get("type").and_then(Json::as_array).is_some_and(|types| types.contains(&"null".into()));
    in_type || alternatives(schema).iter().any(|schema| schema["type"] == "null")
}

/// Do items of this schema have a name by which they merge?
pub fn named(items: &Json) -> bool {
    matches!(shape(items), Shape::Struct(properties) if properties.contains_key("name"))
}

/// The keys a complete value of this schema has.
pub fn required(schema: &Json) -> impl Iterator<Item = &str> {
    not_null(schema).get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

/// The alternative of an optional value that is not `null`.
fn not_null(schema: &Json) -> &Json {
    let is_optional = alternatives(schema).iter().any(|schema| schema["type"] == "null");
    let other = alternatives(schema).iter().find(|schema| schema["type"] != "null");
    other.filter(|_| is_optional).unwrap_or(schema)
}

fn alternatives(schema: &Json) -> &[Json] {
    schema.get("anyOf").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// The words of an enumeration; documented ones stand as `const` in a `oneOf`.
fn choice(schema: &Json) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return Some(words.iter().filter_map(Json::as_str).collect());
    }
    let variants = schema.get("oneOf")?.as_array()?;
    let words = variants.iter().flat_map(|variant| match variant.get("const") {
        Some(word) => word.as_str().into_iter().collect(),
        None => choice(variant).unwrap_or_default(),
    });
    Some(words.collect())
}

fn word_of_type(schema: &Json) -> &str {
    match schema.get("type") {
        Some(Json::String(word)) => word,
        Some(Json::Array(words)) => words.iter().filter_map(Json::as_str).find(|word| *word != "null").unwrap_or(""),
        _ => "",
    }
}

fn range(schema: &Json, whole: bool) -> Range {
    let bound = |name: &str| schema.get(name).and_then(Json::as_f64);
    let of_type = match schema.get("format").and_then(Json::as_str) {
        Some("uint32") => Some(f64::from(u32::MAX)),
        _ => None,
    };
    Range { whole, least: bound("minimum"), more_than: bound("exclusiveMinimum"), most: bound("maximum").or(of_type) }
}
