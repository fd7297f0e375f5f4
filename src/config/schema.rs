//! The JSON Schema that editors use, with descriptions and defaults (`config schema`).

use serde_json::Value as Json;

use super::load::{DEFAULTS, IDENTITY};
use super::node::{Node, Origin, join};
use super::shape::{self, Shape, named, shape};
use super::yaml::{self, Source};

/// JSON Schema 2020-12 of a configuration file: types from the structs, descriptions and defaults
/// from `config/default.yml`.
pub fn schema() -> String {
    let mut schema = shape::of_config();
    // The embedded file is readable; every load depends on that.
    let (defaults, _) = yaml::parse(DEFAULTS, &Source::File("default.yml".into()));
    fit_for_files(&mut schema, defaults.as_ref(), "");
    format!("{schema:#}\n")
}

/// A file may leave out whatever has a default, so nothing is required but the names by which lists
/// merge and the keys of items that replace each other.
fn fit_for_files(schema: &mut Json, default: Option<&Node>, path: &str) {
    match shape(schema) {
        Shape::Struct(properties) => {
            let is_named = properties.contains_key("name");
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("required");
                schema.extend(is_named.then(|| ("required".to_owned(), Json::from(["name"]))));
            }
            for (key, schema) in schema["properties"].as_object_mut().into_iter().flatten() {
                let entry = default.into_iter().flat_map(Node::entries).find(|entry| entry.key == *key);
                fit_for_files(schema, entry.map(|entry| &entry.node), &join(path, key));
                if let Some(comment) = entry.and_then(|entry| comment_of(&entry.origin)) {
                    schema["description"] = comment.into();
                }
            }
        }
        // The template's entry is not a default of `connections`: without any there are none.
        Shape::List(items) if named(items) => {
            fit_for_files(&mut schema["items"], default.and_then(|list| list.items().first()), "");
        }
        Shape::Map(_) => {
            set_default(schema, default, path);
            fit_for_files(&mut schema["additionalProperties"], None, "");
        }
        _ => set_default(schema, default, path),
    }
}

fn set_default(schema: &mut Json, default: Option<&Node>, path: &str) {
    if let Some(default) = default.filter(|_| !IDENTITY.contains(&path)) {
        schema["default"] = default.to_json();
    }
}

/// The comment above a key of `default.yml`, in one line.
pub(super) fn comment_of(key: &Origin) -> Option<String> {
    let Origin::File { line, .. } = key else { return None };
    let above: Vec<&str> = DEFAULTS.lines().take(line - 1).collect();
    let start = above.iter().rposition(|line| !line.trim_start().starts_with('#')).map_or(0, |at| at + 1);
    let lines: Vec<&str> = above[start..].iter().map(|line| line.trim_start().trim_start_matches('#').trim()).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}
