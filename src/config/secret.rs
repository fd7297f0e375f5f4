//! Reading secrets when they are needed (`surfaces.md` 1.2).

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::environment;
use super::value::{Secret, Span};
use crate::clock::{Clock, Millis};

/// How long a command may take if its `timeout` is not given.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest secret in bytes.
const LONGEST: usize = 64 * 1024;

/// Looks up one variable of the environment.
pub(super) type Lookup<'e> = &'e (dyn Fn(&str) -> Option<OsString> + Sync);

/// Why a secret cannot be read. Never shows the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    #[error("$CREDENTIALS_DIRECTORY is not set; credentials come from systemd (LoadCredential=)")]
    NoCredentials,
    #[error("{0:?} is not the name of a credential")]
    CredentialName(String),
    #[error("the file {} cannot be read: {reason}", .file.display())]
    Unreadable { file: PathBuf, reason: String },
    #[error("the file {} may be read by others (mode {mode:04o}); make it 0400 or 0600", .file.display())]
    Open { file: PathBuf, mode: u32 },
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    #[error("the command {program} {reason}")]
    Command { program: String, reason: String },
    #[error("is empty")]
    Empty,
    #[error("is not UTF-8 text")]
    NotText,
    #[error("is longer than 64 KiB")]
    TooLong,
}

impl Secret {
    /// The secret as it is now; the output of a command as it was up to `keep` ago.
    pub async fn read(&self) -> Result<SecretString, SecretProblem> {
        self.read_from(&environment::variable).await
    }

    /// The same, but a command runs again even if its output is still kept: for a secret that a
    /// remote has just refused.
    pub async fn read_again(&self) -> Result<SecretString, SecretProblem> {
        if let Self::Command { command, .. } = self {
            KEPT.forget(command);
        }
        self.read().await
    }

    /// `(secret: credential commercetools_client_secret, 40 bytes, sha256:1f3a…)`, for the operator.
    pub async fn describe(&self) -> String {
        let of = format!("{self:?}");
        let of = of.trim_end_matches(')');
        match self.read().await {
            Ok(secret) => {
                let value = secret.expose_secret().as_bytes();
                let digest = Sha256::digest(value);
                format!("{of}, {} bytes, sha256:{:02x}{:02x}…)", value.len(), digest[0], digest[1])
            }
            Err(problem) => format!("{of}, not readable: {problem})"),
        }
    }

    pub(super) async fn read_from(&self, environment: Lookup<'_>) -> Result<SecretString, SecretProblem> {
        let bytes = match self {
            Self::Credential { credential } => credential_bytes(credential, environment).await?,
            Self::File { file } => {
                refuse_open(file).await?;
                file_bytes(file).await?
            }
            Self::Env { env } => {
                environment(env).ok_or_else(|| SecretProblem::NotSet(env.clone()))?.into_encoded_bytes()
            }
            Self::Command { command, timeout, keep } => {
                return command_output(command, *timeout, *keep, environment).await;
            }
            Self::Literal(text) => text.clone().into_bytes(),
        };
        to_secret(bytes)
    }
}

async fn credential_bytes(name: &str, environment: Lookup<'_>) -> Result<Vec<u8>, SecretProblem> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(SecretProblem::CredentialName(name.to_owned()));
    }
    let directory = environment("CREDENTIALS_DIRECTORY").ok_or(SecretProblem::NoCredentials)?;
    // No look at the mode: systemd guards the directory, and may give access by ACL.
    file_bytes(&Path::new(&directory).join(name)).await
}

async fn file_bytes(file: &Path) -> Result<Vec<u8>, SecretProblem> {
    tokio::fs::read(file).await.map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> SecretProblem {
    SecretProblem::Unreadable { file: file.to_owned(), reason: error.to_string() }
}

#[cfg(unix)]
async fn refuse_open(file: &Path) -> Result<(), SecretProblem> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = tokio::fs::metadata(file).await.map_err(|error| unreadable(file, &error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(SecretProblem::Open { file: file.to_owned(), mode }) }
}

#[cfg(not(unix))]
async fn refuse_open(_: &Path) -> Result<(), SecretProblem> {
    Ok(())
}

async fn command_output(
    command: &[String],
    timeout: Option<Span>,
    keep: Option<Span>,
    environment: Lookup<'_>,
) -> Result<SecretString, SecretProblem> {
    if let Some(kept) = KEPT.find(command) {
        return Ok(kept);
    }
    let (program, arguments) = command.split_first().ok_or(SecretProblem::Empty)?;
    let problem = |reason: String| SecretProblem::Command { program: program.clone(), reason };
    let passed_on = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, environment(name)?)));
    let mut child = Command::new(program);
    child.args(arguments).env_clear().envs(passed_on).stdin(Stdio::null()).kill_on_drop(true);
    let timeout = timeout.map_or(TIMEOUT, |timeout| timeout.0);
    let output = tokio::time::timeout(timeout, child.output()).await;
    let output = output.map_err(|_| problem(format!("did not end within {}", Span(timeout))))?;
    let output = output.map_err(|error| problem(format!("could not be started: {error}")))?;
    if !output.status.success() {
        // Its own words may repeat what it was asked for, so only the status is told.
        return Err(problem(format!("failed: {}", output.status)));
    }
    let secret = to_secret(output.stdout)?;
    if let Some(keep) = keep {
        KEPT.put(command, &secret, keep);
    }
    Ok(secret)
}

/// Cuts the newline at the end that editors and commands add.
fn to_secret(bytes: Vec<u8>) -> Result<SecretString, SecretProblem> {
    if bytes.len() > LONGEST {
        return Err(SecretProblem::TooLong);
    }
    let mut text = String::from_utf8(bytes).map_err(|_| SecretProblem::NotText)?;
    if text.ends_with('\n') {
        text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
    }
    if text.is_empty() { Err(SecretProblem::Empty) } else { Ok(text.into()) }
}

/// Outputs of commands that may still be used, for the whole process: two connections that name the
/// same command share it.
struct Kept {
    clock: Clock,
    outputs: Mutex<HashMap<Vec<String>, (SecretString, Millis)>>,
}

static KEPT: LazyLock<Kept> = LazyLock::new(|| Kept { clock: Clock::system(), outputs: Mutex::default() });

impl Kept {
    fn find(&self, command: &[String]) -> Option<SecretString> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.get(command).filter(|(_, until)| self.clock.now() < *until).map(|(secret, _)| secret.clone())
    }

    fn put(&self, command: &[String], secret: &SecretString, keep: Span) {
        let until = self.clock.now() + keep.millis();
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).insert(command.to_vec(), (secret.clone(), until));
    }

    fn forget(&self, command: &[String]) {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).remove(command);
    }
}
