//! What must not stand where: rules about the source that neither the compiler nor a lint can keep.

use crate::source::{SourceFile, tree};

/// A longer file is split by noun.
const LONGEST_FILE: usize = 600;

#[test]
fn no_file_is_too_long() {
    check(too_long);
}

#[test]
fn flows_and_handlers_hold_neither_sql_nor_an_http_client() {
    check(foreign_crates);
}

#[test]
fn sql_stands_in_the_store_only() {
    check(sql_outside_the_store);
}

#[test]
fn http_clients_are_built_in_remote_and_simulator_only() {
    check(http_clients_elsewhere);
}

fn check(rule: fn(&SourceFile) -> Vec<String>) {
    let findings: Vec<String> = tree().iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn too_long(file: &SourceFile) -> Vec<String> {
    if file.lines <= LONGEST_FILE {
        return Vec::new();
    }
    vec![format!("{}: {} lines, over {LONGEST_FILE}: split it by noun", file.path, file.lines)]
}

/// `sync` works through the store and the two clients, `http` through the queue.
fn foreign_crates(file: &SourceFile) -> Vec<String> {
    if !["sync", "http"].contains(&file.unit()) {
        return Vec::new();
    }
    let find = |name: &'static str| file.find(&[name]).into_iter().map(move |line| (line, name));
    let found = find("sqlx").chain(find("reqwest"));
    found.map(|(line, name)| format!("{}:{line}: {name} has no place in {}", file.path, file.unit())).collect()
}

fn sql_outside_the_store(file: &SourceFile) -> Vec<String> {
    if file.unit() == "store" {
        return Vec::new();
    }
    let statements = file.strings().filter(|(_, text)| is_sql(text));
    statements.map(|(line, _)| format!("{}:{line}: SQL belongs in src/store", file.path)).collect()
}

/// A statement is told from a sentence by its first words, written in one case ("Select a retailer from …" is none).
fn is_sql(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let Some(first) = words.first() else { return false };
    if first.chars().any(char::is_uppercase) && first.chars().any(char::is_lowercase) {
        return false;
    }
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let second = lower.get(1).map(String::as_str);
    match lower[0].as_str() {
        "select" => lower.contains(&"from".to_owned()) || second.is_some_and(|second| second.parse::<i64>().is_ok()),
        "insert" | "replace" => second == Some("into"),
        "delete" => second == Some("from"),
        "update" => lower.get(2).map(String::as_str) == Some("set"),
        "with" => second == Some("recursive") || lower.get(2).map(String::as_str) == Some("as"),
        "create" | "alter" | "drop" => matches!(second, Some("table" | "index" | "unique" | "database" | "schema")),
        "begin" => matches!(second, None | Some("immediate" | "transaction")),
        "pragma" => true,
        _ => false,
    }
}

/// TLS provider, deadlines and the guard against private addresses stand where clients are built.
fn http_clients_elsewhere(file: &SourceFile) -> Vec<String> {
    if ["remote", "simulator"].contains(&file.unit()) {
        return Vec::new();
    }
    let imported = imported_from_reqwest(file);
    let mut lines = file.find(&["reqwest", "::", "get"]);
    for name in ["Client", "ClientBuilder"] {
        for by in ["new", "builder", "default"] {
            lines.extend(file.find(&["reqwest", "::", name, "::", by]));
            if imported.contains(&name) {
                lines.extend(file.find(&[name, "::", by]));
            }
        }
    }
    lines.sort_unstable();
    lines.dedup();
    lines.iter().map(|line| format!("{}:{line}: only src/remote builds HTTP clients", file.path)).collect()
}

/// The words of every `use reqwest…;`: other crates and our own modules have a `Client` too.
fn imported_from_reqwest(file: &SourceFile) -> Vec<&str> {
    let mut words = Vec::new();
    for (at, pair) in file.tokens.windows(2).enumerate() {
        if pair[0].is("use") && pair[1].is("reqwest") {
            words.extend(file.tokens[at..].iter().take_while(|token| !token.is(";")).map(|token| token.text.as_str()));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(rule: fn(&SourceFile) -> Vec<String>, path: &str, text: &str) -> bool {
        !rule(&SourceFile::new(path, text)).is_empty()
    }

    #[test]
    fn a_file_is_too_long_from_the_601st_line_on() {
        assert!(!finds(too_long, "src/a.rs", &"//\n".repeat(600)));
        assert!(finds(too_long, "src/a.rs", &"//\n".repeat(601)));
    }

    #[test]
    fn foreign_crates_are_found_in_code_and_not_in_comments() {
        assert!(finds(foreign_crates, "src/sync/order.rs", "use sqlx::Row;"));
        assert!(finds(foreign_crates, "src/http/mod.rs", "fn f(_: reqwest::Url) {}"));
        assert!(!finds(foreign_crates, "src/http/mod.rs", "// no reqwest here"));
        assert!(!finds(foreign_crates, "src/store/tx.rs", "use sqlx::Row;"));
    }

    #[test]
    fn statements_are_told_from_sentences() {
        for statement in [
            "select 1",
            "SELECT id\n  FROM message",
            "insert into message (id) values ($1)",
            "update lane set due = $1",
            "delete from cursor",
            "with due as (select 1) update x set y = 1",
            "create table message (id text)",
            "BEGIN IMMEDIATE",
            "PRAGMA journal_mode = wal",
        ] {
            assert!(is_sql(statement), "{statement}");
            let text = format!("const Q: &str = {statement:?};");
            assert!(finds(sql_outside_the_store, "src/queue/worker.rs", &text));
            assert!(!finds(sql_outside_the_store, "src/store/message.rs", &text));
        }
        for sentence in [
            "",
            "Select a retailer from the list",
            "update the order",
            "delete",
            "select all",
            "with care",
            "create order",
        ] {
            assert!(!is_sql(sentence), "{sentence}");
        }
    }

    #[test]
    fn http_clients_are_found_outside_their_place() {
        let text = "use reqwest::Client;\nfn f() { Client::builder(); }";
        assert!(finds(http_clients_elsewhere, "src/fluent/auth.rs", text));
        assert!(finds(http_clients_elsewhere, "src/fluent/auth.rs", "fn f() { reqwest::Client::new(); }"));
        assert!(!finds(http_clients_elsewhere, "src/remote/mod.rs", text));
        assert!(!finds(http_clients_elsewhere, "src/simulator/front.rs", text));
        assert!(!finds(
            http_clients_elsewhere,
            "src/fluent/auth.rs",
            "use crate::fluent::Client;\nfn f() { Client::new(); }"
        ));
    }
}
