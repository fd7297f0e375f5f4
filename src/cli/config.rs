//! `config check`, `config show`, `config schema`: offline.

use serde_json::{Map, Value, json};

use super::output::Output;
use super::refusal::{Code, Refusal};
use super::{Arguments, ConfigVerb};
use crate::config::{Loaded, Problem, Problems, check, load, schema};

/// Runs one of them.
pub async fn perform(
    verb: &ConfigVerb,
    arguments: &Arguments,
    routes: &[&str],
    output: &Output,
) -> Result<(), Refusal> {
    match verb {
        ConfigVerb::Schema => output.bytes(schema().as_bytes()),
        ConfigVerb::Check => checked(arguments, routes, output).await,
        ConfigVerb::Show { origin } => show(&load(&arguments.sources())?, *origin, output).await,
    }
}

async fn checked(arguments: &Arguments, routes: &[&str], output: &Output) -> Result<(), Refusal> {
    let found = match load(&arguments.sources()) {
        Ok(loaded) => check(&loaded, routes).await,
        Err(problems) => Err(problems),
    };
    let (problems, warnings) = match found {
        Ok(warnings) => (Problems::default(), warnings),
        Err(problems) => (problems, Problems::default()),
    };
    let invalid = problems.0.len();
    if output.is_json() {
        let each = |problems: &Problems| problems.0.iter().map(described).collect::<Vec<_>>();
        let valid = invalid == 0;
        output.document(&json!({"valid": valid, "problems": each(&problems), "warnings": each(&warnings)}))?;
    } else {
        problems.0.iter().try_for_each(|problem| output.line(&problem.to_string()))?;
        warnings.0.iter().try_for_each(|warning| output.line(&format!("warning: {warning}")))?;
        if invalid == 0 {
            output.line("The configuration is valid.")?;
        }
    }
    match invalid {
        0 => Ok(()),
        1 => Err(Refusal::new(Code::Configuration, "The configuration has a problem; mend it where it says.")),
        n => Err(Refusal::new(
            Code::Configuration,
            format!("The configuration has {n} problems; mend each where it says."),
        )),
    }
}

fn described(problem: &Problem) -> Value {
    json!({"place": problem.place, "path": problem.path, "sentence": problem.sentence})
}

/// Every value by its path; secrets by their source, length and the start of their hash.
async fn show(loaded: &Loaded, origin: bool, output: &Output) -> Result<(), Refusal> {
    let mut settings = loaded.settings().map_err(|error| Refusal::failed(format!("No configuration: {error}.")))?;
    for (path, secret) in loaded.config.secrets() {
        if let Some(setting) = settings.iter_mut().find(|setting| setting.path == path) {
            setting.value = Value::String(secret.describe().await);
        }
    }
    if output.is_json() {
        let entry = |value: Value, place: String| if origin { json!({"value": value, "origin": place}) } else { value };
        let entries =
            settings.into_iter().map(|setting| (setting.path, entry(setting.value, setting.origin.to_string())));
        return output.document(&Value::Object(entries.collect::<Map<_, _>>()));
    }
    match origin {
        true => {
            let row = |setting: crate::config::Setting| {
                vec![setting.path, written(&setting.value), setting.origin.to_string()]
            };
            output.table(&["key", "value", "origin"], settings.into_iter().map(row))
        }
        false => settings
            .iter()
            .try_for_each(|setting| output.line(&format!("{}: {}", setting.path, written(&setting.value)))),
    }
}

/// A value as a configuration file would have it.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
