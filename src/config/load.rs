//! Sources → configuration: defaults, files, profile and environment, later ones winning
//! (`surfaces.md` 1.1).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::environment;
use super::merge::{lay_over, nothing};
use super::model::Config;
use super::node::{Node, Origin, Value, join, join_item};
use super::problem::{Problem, Problems};
use super::secret::Lookup;
use super::shape;
use super::validate::{missing, unexplained, validate};
use super::yaml::{self, Source};

/// The defaults of every key, and the reference for the operator.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.yml");

/// Where files are looked for when none is named.
const PLACES: [&str; 2] = ["/etc/fluent-connector/config.yml", "./config.yml"];

/// Keys of a connection that the operator must give: what `default.yml` has there is an example. The
/// last one is not required: its default is the account.
pub(super) const IDENTITY: [&str; 11] = [
    "name",
    "commercetools.project_key",
    "commercetools.client_id",
    "commercetools.client_secret",
    "fluent.account",
    "fluent.retailer_id",
    "fluent.username",
    "fluent.password",
    "fluent.client_secret",
    "fluent.product_catalogue.ref",
    "fluent.client_id",
];

/// The same of an entry of `intake.sqs`.
pub(super) const QUEUE_IDENTITY: [&str; 3] = ["name", "connection", "queue_url"];

/// What the configuration is made of, besides the embedded defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In the order in which they are laid over each other; all must exist.
    pub files: Vec<PathBuf>,
    /// Adds `x-NAME.yml` beside each `x.yml`, if present.
    pub profile: Option<String>,
    /// Variables `FLUENT_CONNECTOR__…`; others are ignored.
    pub environment: BTreeMap<String, String>,
}

/// A configuration that is complete and well-formed; [`check`](super::check()) looks at what its
/// values mean together.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Path → where its value was written; maps and lists included.
    pub origins: BTreeMap<String, Origin>,
}

impl Sources {
    /// What the command line named, else what the environment names, else the usual places.
    pub fn from_environment(files: Vec<PathBuf>, profile: Option<String>) -> Self {
        let mut sources = Self::named_by(files, profile, &environment::variable);
        sources.environment = environment::variables();
        sources
    }

    fn named_by(files: Vec<PathBuf>, profile: Option<String>, environment: Lookup<'_>) -> Self {
        let given = |name: &str| environment(name).filter(|value| !value.is_empty());
        let usual = || PLACES.into_iter().map(PathBuf::from).find(|file| file.exists()).into_iter().collect();
        let named = || given("FLUENT_CONNECTOR_CONFIG").map(|named| std::env::split_paths(&named).collect());
        let files = if files.is_empty() { named().unwrap_or_else(usual) } else { files };
        let of_environment = || Some(given("FLUENT_CONNECTOR_PROFILE")?.to_string_lossy().into_owned());
        Self { files, profile: profile.or_else(of_environment), environment: BTreeMap::new() }
    }
}

/// Reads, merges and validates; every problem of every source is reported at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let schema = shape::of_config();
    let (defaults, templates) = defaults()?;
    let mut layers = Layers { schema: &schema, operator: nothing(), problems: Problems::default(), complete: true };
    for file in files(sources, &mut layers.problems) {
        layers.lay_file(&file);
    }
    let ours = sources.environment.iter().filter(|(name, _)| name.starts_with(environment::PREFIX));
    for (variable, text) in ours {
        let base = over_defaults(defaults.clone(), &templates, layers.operator.clone(), &schema);
        layers.lay_variable(variable, text, &base);
    }
    let Layers { operator, mut problems, complete, .. } = layers;
    problems.0.extend(environment::collisions(&operator, &schema));
    let tree = over_defaults(defaults, &templates, operator, &schema);
    if complete {
        let found = unexplained(missing(&tree, &schema), &problems.0);
        problems.0.extend(found);
    }
    problems.into_result()?;
    finish(&tree)
}

/// What the operator says, source by source.
struct Layers<'s> {
    schema: &'s Json,
    operator: Node,
    problems: Problems,
    /// Could every file be read? If not, it would be idle to tell what is missing.
    complete: bool,
}

impl Layers<'_> {
    fn lay_file(&mut self, file: &Path) {
        let text = match read(file) {
            Ok(text) => text,
            Err(problem) => {
                self.complete = false;
                return self.problems.0.push(problem);
            }
        };
        let (tree, mut found) = yaml::parse(&text, &Source::File(file.display().to_string().into()));
        self.complete &= tree.is_some();
        if let Some(tree) = tree {
            found.extend(validate(&tree, self.schema));
            self.lay(tree);
        }
        self.problems.0.extend(from_top_to_bottom(found));
    }

    fn lay_variable(&mut self, variable: &str, text: &str, base: &Node) {
        match environment::tree(variable, text, self.schema, base) {
            Ok(tree) => {
                self.problems.0.extend(validate(&tree, self.schema));
                self.lay(tree);
            }
            Err(found) => self.problems.0.extend(found),
        }
    }

    fn lay(&mut self, tree: Node) {
        let under = std::mem::replace(&mut self.operator, nothing());
        self.operator = lay_over(under, tree, self.schema);
    }
}

/// The files to read: the named ones, then their siblings of the profile.
fn files(sources: &Sources, problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = sources.files.clone();
    if let Some(profile) = &sources.profile {
        // A name, not a path: what lies elsewhere is no sibling.
        let legal = profile.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let siblings = files.iter().filter(|_| legal).map(|file| sibling(file, profile));
        let siblings: Vec<PathBuf> = siblings.filter(|file| file.exists()).collect();
        if siblings.is_empty() {
            let looked_for: Vec<String> =
                files.iter().map(|file| sibling(file, profile).display().to_string()).collect();
            let sentence = match looked_for.is_empty() {
                true => "there is no configuration file whose sibling could be the profile's".to_owned(),
                false => format!("none of its files exists: {}", looked_for.join(", ")),
            };
            problems.0.push(Problem::new(format_args!("profile {profile}"), "", sentence));
        }
        files.extend(siblings);
    }
    files
}

/// `dir/x.yml` → `dir/x-NAME.yml`
fn sibling(file: &Path, profile: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().map_or(String::new(), |extension| format!(".{}", extension.to_string_lossy()));
    file.with_file_name(format!("{stem}-{profile}{extension}"))
}

/// In the order of the file's lines.
fn from_top_to_bottom(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| {
        let mut numbers = problem.place.rsplit(':').map_while(|part| part.parse::<usize>().ok());
        let column = numbers.next();
        (numbers.next(), column)
    });
    problems
}

fn read(file: &Path) -> Result<String, Problem> {
    let problem = |sentence: String| Problem::new(file.display(), "", sentence);
    let open = || {
        let mut bytes = Vec::new();
        File::open(file)?.take(yaml::BYTES + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = open().map_err(|error| problem(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > yaml::BYTES {
        return Err(problem("is larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| problem("is not UTF-8 text".to_owned()))
}

/// What lies under each entry of a list whose entries have defaults.
struct Templates {
    connection: Node,
    queue: Node,
}

/// The defaults without connections and queues, and the templates of these.
fn defaults() -> Result<(Node, Templates), Problems> {
    let (tree, problems) = yaml::parse(DEFAULTS, &Source::Default);
    let Some(mut tree) = tree.filter(|_| problems.is_empty()) else { return Err(Problems(problems)) };
    let connection = take_template(&mut tree, "connections", &IDENTITY);
    let mut intake = tree.at("intake").cloned().unwrap_or_else(nothing);
    let queue = take_template(&mut intake, "sqs", &QUEUE_IDENTITY);
    tree.put("intake", intake);
    Ok((tree, Templates { connection, queue }))
}

/// Empties a list; answers its one entry without what each entry must say for itself.
fn take_template(tree: &mut Node, list: &str, identity: &[&str]) -> Node {
    let mut template = tree.at(list).and_then(|list| list.items().first()).cloned().unwrap_or_else(nothing);
    for path in identity {
        template = without(template, path);
    }
    tree.put(list, Node { value: Value::List(Vec::new()), origin: Origin::Default });
    template
}

fn without(mut node: Node, path: &str) -> Node {
    match path.split_once('.') {
        None => node.remove(path),
        Some((key, below)) => {
            if let Some(inner) = node.at(key).cloned() {
                node.put(key, without(inner, below));
            }
        }
    }
    node
}

fn over_defaults(defaults: Node, templates: &Templates, operator: Node, schema: &Json) -> Node {
    let mut tree = lay_over(defaults, operator, schema);
    let connection = &schema["properties"]["connections"]["items"];
    lay_under_each(&mut tree, "connections", &templates.connection, connection, with_client_id);
    if let Some(mut intake) = tree.at("intake").cloned() {
        let queue = &schema["properties"]["intake"]["properties"]["sqs"]["items"];
        lay_under_each(&mut intake, "sqs", &templates.queue, queue, |entry| entry);
        tree.put("intake", intake);
    }
    tree
}

fn lay_under_each(tree: &mut Node, list: &str, template: &Node, schema: &Json, complete: fn(Node) -> Node) {
    let Some(entries) = tree.at(list).cloned() else { return };
    let with_template = |item: &Node| complete(lay_over(template.clone(), item.clone(), schema));
    let value = Value::List(entries.items().iter().map(with_template).collect());
    tree.put(list, Node { value, ..entries });
}

/// The client of an account usually has the account's name.
fn with_client_id(mut connection: Node) -> Node {
    if let Some(mut fluent) = connection.at("fluent").filter(|fluent| fluent.at("client_id").is_none()).cloned() {
        // Without an account there is that to complain about, not the client.
        let value = fluent.at("account").map_or(Value::Null, |account| account.value.clone());
        fluent.put("client_id", Node { value, origin: Origin::Default });
        connection.put("fluent", fluent);
    }
    connection
}

fn finish(tree: &Node) -> Result<Loaded, Problems> {
    match serde_json::from_value(tree.to_json()) {
        Ok(config) => Ok(Loaded { config, origins: tree.origins() }),
        // Validation has seen every value; this tells of a type whose schema says too little.
        Err(error) => Err(Problems(vec![Problem::new("configuration", "", error.to_string())])),
    }
}

impl Loaded {
    /// Every value with its path and origin, secrets described only, in the order of the paths; for
    /// `config show`.
    pub fn settings(&self) -> Result<Vec<Setting>, serde_json::Error> {
        let mut settings = Vec::new();
        collect(&serde_json::to_value(&self.config)?, String::new(), &mut |path, value| {
            let origin = self.origin(&path).clone();
            settings.push(Setting { path, value, origin });
        });
        Ok(settings)
    }

    /// Where the value at `path` was written, or what it belongs to.
    pub fn origin(&self, path: &str) -> &Origin {
        let mut path = path;
        loop {
            match (self.origins.get(path), path.rfind(['.', '['])) {
                (Some(origin), _) => return origin,
                (None, Some(at)) => path = &path[..at],
                (None, None) => return &Origin::Default,
            }
        }
    }
}

/// One value of a loaded configuration.
#[derive(Clone, Debug)]
pub struct Setting {
    pub path: String,
    pub value: Json,
    pub origin: Origin,
}

fn collect(value: &Json, path: String, each: &mut impl FnMut(String, Json)) {
    match value {
        Json::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                collect(value, join(&path, key), each);
            }
        }
        Json::Array(items) if items.iter().any(Json::is_object) => {
            for (n, item) in items.iter().enumerate() {
                collect(item, join_item(&path, item["name"].as_str(), n), each);
            }
        }
        value => each(path, value.clone()),
    }
}

#[cfg(test)]
mod tests;
