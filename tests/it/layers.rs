//! Imports point down. The layers of the crate, who may use whom, and the few exceptions with their reasons.

use std::collections::BTreeSet;

use crate::source::{Import, SourceFile, tree};
use crate::summary;

/// From the top to the bottom. A module may use what lies in a lower layer, and itself; never a sibling in its own
/// layer, never anything above. A new top-level module is added here, in the lowest layer that suits it.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["lib", "daemon", "demo"],
    &["cli", "http", "sync", "simulator"],
    &["intake", "provision"],
    &["queue"],
    &["app"],
    &["fluent", "commercetools", "cloud", "mapping", "notify"],
    &["store", "remote"],
    &["config"],
    &["failure", "clock", "telemetry", "pulse"],
];

/// Who may use whom all the same.
const EXCEPTIONS: &[Exception] = &[
    Exception { from: "cli", to: "simulator", reason: "the verb simulate names its faults" },
    Exception { from: "lib", to: "daemon", reason: "the crate root wires the parts it is made of" },
    Exception { from: "lib", to: "demo", reason: "the crate root wires the parts it is made of" },
    Exception { from: "demo", to: "daemon", reason: "the demo is a daemon with both platforms beside it" },
];

/// What `#[cfg(test)]` code of any layer may use.
const FOR_TESTS: &[&str] = &["simulator"];

struct Exception {
    from: &'static str,
    to: &'static str,
    reason: &'static str,
}

#[test]
fn imports_point_down() {
    let files = tree();
    let refusals = refusals(&files);
    assert!(refusals.is_empty(), "imports that do not point down:\n{}\n", refusals.join("\n"));
    let imports: usize = files.iter().map(|file| file.imports().len()).sum();
    summary::note(&format!("layers: {} files with {imports} paths into the crate, all pointing down", files.len()));
}

fn refusals(files: &[SourceFile]) -> Vec<String> {
    let units: BTreeSet<&str> = files.iter().map(SourceFile::unit).collect();
    let mut refusals: Vec<String> = units
        .iter()
        .filter(|unit| layer(unit).is_none())
        .map(|unit| format!("src/{unit}: `{unit}` is in no layer; add it to LAYERS in tests/it/layers.rs"))
        .collect();
    for file in files {
        for import in file.imports() {
            if let Some(why) = refusal(file.unit(), &import, &units) {
                refusals.push(format!(
                    "{}:{}: imports crate::{}: {why}",
                    file.path,
                    import.line,
                    import.path.join("::")
                ));
            }
        }
    }
    refusals
}

/// Why `from` may not have this import; None if it may.
fn refusal(from: &str, import: &Import, units: &BTreeSet<&str>) -> Option<String> {
    // A name at the root that is no module is an item of lib.rs.
    let to = import.path.first().map(String::as_str).filter(|first| units.contains(first)).unwrap_or("lib");
    let (Some(upper), Some(lower)) = (layer(from), layer(to)) else { return None };
    let allowed = from == to
        || lower > upper
        || EXCEPTIONS.iter().any(|exception| exception.from == from && exception.to == to)
        || (import.in_test && FOR_TESTS.contains(&to));
    if allowed {
        None
    } else if lower == upper {
        Some(format!("`{from}` and `{to}` are siblings; what both need belongs in a layer below them"))
    } else {
        let order: Vec<String> = LAYERS.iter().map(|layer| layer.join(" | ")).collect();
        Some(format!("`{to}` lies above `{from}` ({}); hand it in from above instead", order.join(" → ")))
    }
}

fn layer(unit: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small tree with one file of interest; the other modules only have to exist.
    fn refused(path: &str, text: &str) -> Vec<String> {
        let others = LAYERS.iter().copied().flatten().map(|unit| SourceFile::new(&format!("src/{unit}.rs"), ""));
        let mut files: Vec<SourceFile> = others.collect();
        files.push(SourceFile::new(path, text));
        refusals(&files)
    }

    #[test]
    fn downward_imports_pass() {
        assert_eq!(
            refused("src/sync/order.rs", "use crate::queue::Outcome;\nuse crate::{fluent, commercetools};\n"),
            [""; 0]
        );
        assert_eq!(refused("src/lib.rs", "pub mod http;\npub use crate::sync::standard;\n"), [""; 0]);
        assert_eq!(refused("src/store/tx.rs", "use super::message;\nuse crate::clock::Clock;\n"), [""; 0]);
    }

    #[test]
    fn an_upward_import_is_refused_with_its_place_and_its_reason() {
        let refusals = refused("src/store/message.rs", "use crate::clock;\n\nuse crate::{config, queue::Message};\n");
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert!(
            refusals[0]
                .starts_with("src/store/message.rs:3: imports crate::queue::Message: `queue` lies above `store`")
        );
    }

    #[test]
    fn no_way_of_writing_an_upward_import_gets_past() {
        for text in [
            "fn f() { crate::http::serve() }",
            "use super::super::http::serve;",
            "use crate::{config::{Config}, http};",
            "pub(crate) use crate::http::serve as answer;",
            "mod inner { use super::super::super::http; }",
            "fn f(page: &crate::http::Page) {}",
            "macro_rules! m { () => { $crate::http::serve() } }",
            "use crate::*;",
            "use crate::standard;",
        ] {
            assert_eq!(refused("src/fluent/client.rs", text).len(), 1, "not refused once: {text}");
        }
    }

    #[test]
    fn siblings_are_refused_in_both_directions() {
        assert!(refused("src/fluent/client.rs", "use crate::commercetools::Order;")[0].contains("siblings"));
        assert!(refused("src/commercetools/client.rs", "use crate::fluent::Order;")[0].contains("siblings"));
        assert!(refused("src/http/webhook.rs", "use crate::sync::order;")[0].contains("siblings"));
    }

    #[test]
    fn exceptions_hold_for_whom_they_were_made() {
        for exception in EXCEPTIONS {
            assert!(!exception.reason.is_empty());
            let import = format!("use crate::{};", exception.to);
            assert_eq!(refused(&format!("src/{}/verb.rs", exception.from), &import), [""; 0]);
            assert_eq!(refused("src/queue/worker.rs", &import).len(), 1);
        }
    }

    #[test]
    fn tests_may_use_the_simulator_and_nothing_else_above() {
        let test = |unit: &str| format!("#[cfg(test)]\nmod tests {{\n    use crate::{unit}::x;\n}}\n");
        assert_eq!(refused("src/fluent/client.rs", &test("simulator")), [""; 0]);
        assert_eq!(refused("src/sync/order.rs", &test("simulator")), [""; 0]);
        assert_eq!(refused("src/fluent/client.rs", &test("queue")).len(), 1);
        assert_eq!(refused("src/fluent/client.rs", "use crate::simulator::x;").len(), 1);
    }

    #[test]
    fn a_module_outside_the_layers_is_refused() {
        assert_eq!(
            refused("src/helpers.rs", ""),
            ["src/helpers: `helpers` is in no layer; add it to LAYERS in tests/it/layers.rs"]
        );
    }
}
