//! Reads `src/` the way the structural tests need it: tokens with their lines, comments left out, and every path that
//! starts at `crate`, `self` or `super`, resolved to where it leads. Not a parser: macros are read as they stand.

use std::fs;
use std::path::Path;

/// Every Rust file under `src/`, in the order of their paths.
pub fn tree() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(root, &root.join("src"), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "src/lib.rs was not found below {}", root.display());
    files
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(directory).expect("a source directory can be read") {
        let path = entry.expect("a source directory can be listed").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let relative = path.strip_prefix(root).expect("a source file lies below the root");
            files.push(SourceFile::new(&relative.to_string_lossy(), &text));
        }
    }
}

/// One file of the crate.
pub struct SourceFile {
    /// From the project's root, with `/`: `src/sync/order.rs`.
    pub path: String,
    pub lines: usize,
    pub tokens: Vec<Token>,
    /// The module this file is: `["sync", "order"]`; empty for `lib.rs` and `main.rs`.
    module: Vec<String>,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> Self {
        let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
        let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") || inside == "lib" || inside == "main" {
            module.pop();
        }
        Self { path: path.to_owned(), lines: text.lines().count(), tokens: tokens(text), module }
    }

    /// The top-level module this file belongs to; `lib` and `main` for the two roots.
    pub fn unit(&self) -> &str {
        match self.module.first() {
            Some(first) => first,
            None => self.path.trim_start_matches("src/").trim_end_matches(".rs"),
        }
    }

    /// Every path into the crate, wherever it stands.
    pub fn imports(&self) -> Vec<Import> {
        Walk { tokens: &self.tokens, at: 0, scopes: Vec::new(), module: &self.module, pending_test: false }.run()
    }

    /// Where these tokens stand in a row, as line numbers: `["Client", "::", "new"]`.
    pub fn find(&self, wanted: &[&str]) -> Vec<usize> {
        let matches = |window: &[Token]| window.iter().zip(wanted).all(|(token, text)| token.is(text));
        self.tokens.windows(wanted.len()).filter(|window| matches(window)).map(|window| window[0].line).collect()
    }

    /// The contents of every string literal, with its line.
    pub fn strings(&self) -> impl Iterator<Item = (usize, &str)> {
        self.tokens.iter().filter(|token| token.kind == Kind::Text).map(|token| (token.line, token.text.as_str()))
    }
}

/// A path into the crate: `use crate::clock::Clock` in line 7 is `["clock", "Clock"]`.
#[derive(Debug)]
pub struct Import {
    pub line: usize,
    /// From the root of the crate; `*` for a glob.
    pub path: Vec<String>,
    /// Stands in something marked `#[cfg(test)]`.
    pub in_test: bool,
}

#[derive(Debug)]
pub struct Token {
    pub line: usize,
    pub text: String,
    kind: Kind,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// Identifier, keyword, number or lifetime.
    Word,
    /// One character of punctuation, or `::`.
    Sign,
    /// A string literal's contents, escapes as written.
    Text,
}

// ---- paths

struct Walk<'a> {
    tokens: &'a [Token],
    at: usize,
    /// One for each open brace.
    scopes: Vec<Scope>,
    module: &'a [String],
    /// `#[cfg(test)]` was read and its item has not ended.
    pending_test: bool,
}

struct Scope {
    module: Option<String>,
    test: bool,
}

impl Walk<'_> {
    fn run(mut self) -> Vec<Import> {
        let mut imports = Vec::new();
        while self.at < self.tokens.len() {
            if self.ahead(&["#", "[", "cfg", "(", "test", ")", "]"]) {
                self.pending_test = true;
                self.at += 7;
            } else if self.ahead(&["mod"]) && self.is_at(self.at + 2, "{") {
                self.open(Some(self.tokens[self.at + 1].text.clone()));
                self.at += 3;
            } else if self.ahead(&["use"]) && !self.is_at(self.at + 1, "<") {
                let line = self.tokens[self.at].line;
                self.at += 1;
                let mut paths = Vec::new();
                self.use_tree(&mut Vec::new(), &mut paths);
                imports.extend(paths.into_iter().filter_map(|path| self.import(line, path)));
            } else if self.starts_path() {
                let line = self.tokens[self.at].line;
                let path = self.plain_path();
                imports.extend(self.import(line, path));
            } else {
                self.step();
            }
        }
        imports
    }

    fn step(&mut self) {
        let token = &self.tokens[self.at];
        if token.is("{") {
            self.open(None);
        } else if token.is("}") {
            self.scopes.pop();
            self.pending_test = false;
        } else if token.is(";") || token.is(",") {
            self.pending_test = false;
        }
        self.at += 1;
    }

    fn open(&mut self, module: Option<String>) {
        let test = self.in_test();
        self.scopes.push(Scope { module, test });
        self.pending_test = false;
    }

    fn in_test(&self) -> bool {
        self.pending_test || self.scopes.last().is_some_and(|scope| scope.test)
    }

    fn ahead(&self, wanted: &[&str]) -> bool {
        wanted.iter().enumerate().all(|(offset, text)| self.is_at(self.at + offset, text))
    }

    fn is_at(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(text))
    }

    fn starts_path(&self) -> bool {
        let root = ["crate", "self", "super"].iter().any(|root| self.is_at(self.at, root));
        root && self.is_at(self.at + 1, "::") && !(self.at > 0 && self.is_at(self.at - 1, "::"))
    }

    fn plain_path(&mut self) -> Vec<String> {
        let mut path = vec![self.tokens[self.at].text.clone()];
        self.at += 1;
        while self.is_at(self.at, "::") && self.tokens.get(self.at + 1).is_some_and(|token| token.kind == Kind::Word) {
            path.push(self.tokens[self.at + 1].text.clone());
            self.at += 2;
        }
        path
    }

    /// Reads one branch of a `use`: up to the `,`, `}` or `;` that ends it, which is left to the caller.
    fn use_tree(&mut self, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
        let depth = prefix.len();
        while let Some(token) = self.tokens.get(self.at) {
            if token.is(",") || token.is("}") || token.is(";") {
                break;
            }
            self.at += 1;
            if token.is("{") {
                self.use_branches(prefix, paths);
                prefix.truncate(depth);
                return;
            }
            if token.is("as") {
                self.at += 1;
            } else if token.kind == Kind::Word || token.is("*") {
                prefix.push(token.text.clone());
            }
        }
        paths.push(prefix.clone());
        prefix.truncate(depth);
    }

    fn use_branches(&mut self, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
        while self.at < self.tokens.len() {
            if self.is_at(self.at, "}") {
                self.at += 1;
                return;
            }
            if self.is_at(self.at, ",") {
                self.at += 1;
            } else if self.is_at(self.at, ";") {
                return;
            } else {
                self.use_tree(prefix, paths);
            }
        }
    }

    /// None for a path that does not start in this crate.
    fn import(&self, line: usize, path: Vec<String>) -> Option<Import> {
        let mut here: Vec<String> = self.module.to_vec();
        here.extend(self.scopes.iter().filter_map(|scope| scope.module.clone()));
        let mut resolved = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" => here,
            "super" => {
                here.pop();
                here
            }
            _ => return None,
        };
        for name in &path[1..] {
            match name.as_str() {
                "super" => drop(resolved.pop()),
                "self" => {}
                name => resolved.push(name.to_owned()),
            }
        }
        Some(Import { line, path: resolved, in_test: self.in_test() })
    }
}

// ---- tokens

fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { text, at: 0, line: 1, tokens: Vec::new() };
    while reader.at < text.len() {
        reader.token();
    }
    reader.tokens
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn token(&mut self) {
        let rest = &self.text[self.at..];
        let first = rest.chars().next().expect("there is more to read");
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if let Some((length, inside)) = string(rest) {
            self.push(Kind::Text, &rest[inside.0..inside.1], length);
        } else if first == '\'' {
            let length = quote(rest);
            self.push(Kind::Word, &rest[..length], length);
        } else if let Some(raw) = rest.strip_prefix("r#") {
            let length = word(raw);
            self.push(Kind::Word, &raw[..length], length + 2);
        } else if word(rest) > 0 {
            self.push(Kind::Word, &rest[..word(rest)], word(rest));
        } else if rest.starts_with("::") {
            self.push(Kind::Sign, "::", 2);
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.push(Kind::Sign, &rest[..first.len_utf8()], first.len_utf8());
        }
    }

    fn push(&mut self, kind: Kind, text: &str, length: usize) {
        self.tokens.push(Token { line: self.line, text: text.to_owned(), kind });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.line += self.text[self.at..self.at + length].matches('\n').count();
        self.at += length;
    }
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// A string literal of any kind at the start: its length, and where its contents lie.
fn string(text: &str) -> Option<(usize, (usize, usize))> {
    let prefix = text.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let raw = text[..prefix].contains('r');
    if prefix > 2 {
        return None;
    }
    let hashes = if raw { text[prefix..].find(|c| c != '#')? } else { 0 };
    let start = prefix + hashes + 1;
    if !text[prefix + hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let mut at = start;
    while at < text.len() && !text[at..].starts_with(&close) {
        let escaped = !raw && text[at..].starts_with('\\');
        at += usize::from(escaped);
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    Some(((at + close.len()).min(text.len()), (start, at)))
}

/// A character literal, or a lifetime.
fn quote(text: &str) -> usize {
    let inside = &text[1..];
    if let Some(escape) = inside.strip_prefix('\\') {
        let first = escape.chars().next().map_or(0, char::len_utf8);
        return escape[first..].find('\'').map_or(text.len(), |end| 2 + first + end + 1);
    }
    let first = inside.chars().next().map_or(0, char::len_utf8);
    if inside[first..].starts_with('\'') { first + 2 } else { 1 + word(inside) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        let import = |import: Import| format!("{}:{}", import.line, import.path.join("::"));
        SourceFile::new(path, text).imports().into_iter().map(import).collect()
    }

    #[test]
    fn uses_are_resolved_branch_by_branch() {
        let text = "use std::fmt;\nuse crate::{clock::{self, Clock as Time}, store::*};\npub use super::worker;\n";
        assert_eq!(paths("src/queue/retry.rs", text), ["2:clock", "2:clock::Clock", "2:store::*", "3:queue::worker"],);
    }

    #[test]
    fn paths_in_code_are_resolved_from_the_module_they_stand_in() {
        let text =
            "fn a() { crate::clock::now() }\nmod inner {\n  fn b() -> super::super::http::Page { self::c() }\n}\n";
        assert_eq!(paths("src/sync.rs", text), ["1:clock::now", "3:http::Page", "3:sync::inner::c"]);
    }

    #[test]
    fn comments_strings_and_quotes_hide_nothing_and_name_nothing() {
        let text = concat!(
            "// crate::http\n/* crate::http /* nested */ crate::http */\n",
            "const A: &str = \"crate::http \\\" crate::http\";\nconst B: &str = r#\"crate::http\" crate::http\"#;\n",
            "fn f<'a>(x: &'a str) -> char { if x == \"'\" { '\"' } else { '\\'' } }\nuse crate::clock;\n",
        );
        assert_eq!(paths("src/queue.rs", text), ["6:clock"]);
    }

    #[test]
    fn only_what_is_marked_as_a_test_is_one() {
        let text =
            "#[cfg(test)]\nuse crate::a;\nuse crate::b;\n#[cfg(test)]\nmod tests { use crate::c; }\nuse crate::d;\n";
        let imports = SourceFile::new("src/queue.rs", text).imports();
        assert_eq!(imports.iter().map(|import| import.in_test).collect::<Vec<_>>(), [true, false, true, false]);
    }
}
