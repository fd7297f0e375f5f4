//! The JSON Schema that editors use, with descriptions and defaults (`config schema`).

use serde_json::Value as Json;

use super::load::{DEFAULTS, IDENTITY, QUEUE_IDENTITY};
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
    if let Some(default) = default.filter(|_| !IDENTITY.contains(&path) && !QUEUE_IDENTITY.contains(&path)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::{Entry, join_item};

    #[test]
    fn the_committed_schema_is_the_one_of_the_structs() {
        let committed = include_str!("../../config/schema.json");
        assert!(committed == schema(), "write the output of `config schema` to config/schema.json");
    }

    /// Every key of the structs is in `default.yml` and has a comment of its own, and nothing else is.
    #[test]
    fn default_yml_has_every_key_with_a_comment() {
        let (tree, problems) = yaml::parse(DEFAULTS, &Source::File("default.yml".into()));
        assert_eq!(problems, []);
        let mut findings = Vec::new();
        compare(&tree.unwrap(), &shape::of_config(), "", &mut findings);
        assert_eq!(findings, Vec::<String>::new());
    }

    fn compare(node: &Node, schema: &Json, path: &str, findings: &mut Vec<String>) {
        match shape(schema) {
            // The comment above it tells its keys.
            Shape::Struct(_) if node.is_null() => {}
            Shape::Struct(properties) => {
                for key in properties.keys().filter(|key| node.at(key).is_none()) {
                    findings.push(format!("{} is missing", join(path, key)));
                }
                for Entry { key, origin, node } in node.entries() {
                    let path = join(path, key);
                    if comment_of(origin).is_none() {
                        findings.push(format!("{path} has no comment"));
                    }
                    match properties.get(key) {
                        Some(schema) => compare(node, schema, &path, findings),
                        None => findings.push(format!("{path} is no key")),
                    }
                }
            }
            Shape::List(items) if named(items) => {
                assert_eq!(node.items().len(), 1, "{path} is a template of one entry");
                compare(&node.items()[0], items, &join_item(path, None, 0), findings);
            }
            _ => {}
        }
    }

    #[test]
    fn every_key_of_the_schema_is_described() {
        let schema: Json = serde_json::from_str(&schema()).unwrap();
        let mut silent = Vec::new();
        find_silent(&schema, "", &mut silent);
        assert_eq!(silent, Vec::<String>::new());
    }

    fn find_silent(schema: &Json, path: &str, silent: &mut Vec<String>) {
        match shape(schema) {
            Shape::Struct(properties) => {
                for (key, schema) in properties {
                    if schema["description"].as_str().is_none_or(str::is_empty) {
                        silent.push(join(path, key));
                    }
                    find_silent(schema, &join(path, key), silent);
                }
            }
            Shape::List(items) => find_silent(items, path, silent),
            Shape::Map(values) => find_silent(values, path, silent),
            _ => {}
        }
    }

    #[test]
    fn what_a_connection_must_give_has_no_default() {
        let schema: Json = serde_json::from_str(&schema()).unwrap();
        let connection = &schema["properties"]["connections"]["items"];
        assert_eq!(connection["required"], serde_json::json!(["name"]));
        for path in IDENTITY {
            let key = path.split('.').fold(connection, |schema, key| &schema["properties"][key]);
            assert!(key.is_object() && key.get("default").is_none(), "{path}");
        }
        assert_eq!(schema["properties"]["server"]["properties"]["listen"]["default"], "127.0.0.1:8080");
    }
}
