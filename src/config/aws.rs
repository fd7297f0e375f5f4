//! What Amazon's credentials chain reads from the environment (`surfaces.md` 2.4).

use std::collections::BTreeMap;

use super::environment;

/// The variables of the chain; the others are nobody's business.
const NAMES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
];

/// Those that are set, to something.
pub fn environment() -> BTreeMap<String, String> {
    let set =
        NAMES.into_iter().filter_map(|name| Some((name.to_owned(), environment::variable(name)?.into_string().ok()?)));
    set.filter(|(_, value)| !value.is_empty()).collect()
}
