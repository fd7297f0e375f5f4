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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn file(mode: u32, text: &str) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, file)
    }

    async fn text(secret: &Secret) -> Result<String, SecretProblem> {
        let environment = |name: &str| match name {
            "PATH" => std::env::split_paths("/usr/bin:/bin").next().map(PathBuf::into_os_string),
            "TOKEN" => Some("from the environment".into()),
            _ => None,
        };
        secret.read_from(&environment).await.map(|secret| secret.expose_secret().to_owned())
    }

    fn command(script: &str, timeout: Option<&str>, keep: Option<&str>) -> Secret {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let span = |text: &str| text.parse::<Span>().unwrap();
        Secret::Command { command, timeout: timeout.map(span), keep: keep.map(span) }
    }

    #[tokio::test]
    async fn a_file_loses_its_last_newline_only() {
        let (_dir, file) = file(0o600, "  a\n\n");
        assert_eq!(text(&Secret::File { file }).await.unwrap(), "  a\n");
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660] {
            let (_dir, file) = file(mode, "a");
            assert_eq!(text(&Secret::File { file: file.clone() }).await, Err(SecretProblem::Open { file, mode }));
        }
    }

    #[tokio::test]
    async fn an_absent_file_and_an_empty_one_are_told() {
        let absent = Secret::File { file: "/nonexistent/secret".into() };
        assert!(matches!(text(&absent).await, Err(SecretProblem::Unreadable { .. })));
        let (_dir, file) = file(0o400, "\n");
        assert_eq!(text(&Secret::File { file }).await, Err(SecretProblem::Empty));
    }

    #[tokio::test]
    async fn a_credential_lies_in_the_directory_of_systemd() {
        // systemd may give access by ACL, which shows as a mode that others can read.
        let (dir, _) = file(0o444, "sesame\n");
        let directory = dir.path().as_os_str().to_owned();
        let environment = move |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone());
        let secret = Secret::Credential { credential: "secret".to_owned() };
        assert_eq!(secret.read_from(&environment).await.unwrap().expose_secret(), "sesame");
        assert_eq!(text(&secret).await, Err(SecretProblem::NoCredentials));
        for name in ["../secret", "a/b", ""] {
            let secret = Secret::Credential { credential: name.to_owned() };
            assert_eq!(
                secret.read_from(&environment).await.map(|_| ()),
                Err(SecretProblem::CredentialName(name.to_owned()))
            );
        }
    }

    #[tokio::test]
    async fn a_variable_is_taken_as_it_is() {
        assert_eq!(text(&Secret::Env { env: "TOKEN".to_owned() }).await.unwrap(), "from the environment");
        assert_eq!(
            text(&Secret::Env { env: "ABSENT".to_owned() }).await,
            Err(SecretProblem::NotSet("ABSENT".to_owned()))
        );
    }

    #[tokio::test]
    async fn a_command_sees_path_and_home_only() {
        let seen = text(&command("echo \"$PATH/$TOKEN/$CARGO_MANIFEST_DIR\"", None, None)).await.unwrap();
        assert_eq!(seen, "/usr/bin//");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_told_without_its_words() {
        let failed = text(&command("echo hunter2 >&2; exit 3", None, None)).await.unwrap_err().to_string();
        assert!(failed.contains("exit status: 3") && !failed.contains("hunter2"), "{failed}");
        let hung = text(&command("exec /bin/sleep 60", Some("50ms"), None)).await.unwrap_err().to_string();
        assert!(hung.contains("did not end within 50ms"), "{hung}");
        let absent = Secret::Command { command: vec!["/nonexistent".to_owned()], timeout: None, keep: None };
        assert!(text(&absent).await.unwrap_err().to_string().contains("could not be started"));
    }

    #[tokio::test]
    async fn output_is_kept_until_a_remote_refuses_it() {
        let dir = TempDir::new().unwrap();
        let counter = dir.path().join("calls");
        let script = format!("echo x >> {0}; exec /usr/bin/wc -l < {0}", counter.display());
        let kept = command(&script, None, Some("1h"));
        let read = async |secret: &Secret| secret.read().await.unwrap().expose_secret().trim().to_owned();
        assert_eq!((read(&kept).await.as_str(), read(&kept).await.as_str()), ("1", "1"));
        assert_eq!(kept.read_again().await.unwrap().expose_secret().trim(), "2");
        let unkept = command(&format!("{script} "), None, None);
        assert_eq!((read(&unkept).await.as_str(), read(&unkept).await.as_str()), ("3", "4"));
    }

    #[tokio::test]
    async fn descriptions_show_where_and_how_long_but_not_what() {
        let (_dir, file) = file(0o600, "sesame\n");
        let described = Secret::File { file: file.clone() }.describe().await;
        assert_eq!(described, format!("(secret: file {}, 6 bytes, sha256:d0c0…)", file.display()));
        let literal = Secret::Literal("sesame".to_owned());
        assert_eq!(literal.describe().await, "(secret, 6 bytes, sha256:d0c0…)");
        assert_eq!(format!("{literal:?}"), "(secret)");
        let absent = Secret::Env { env: "FLUENT_CONNECTOR_ABSENT".to_owned() };
        assert!(absent.describe().await.starts_with("(secret: env FLUENT_CONNECTOR_ABSENT, not readable: "));
    }
}
