//! Where the two platforms are reached.

use super::model::{CommercetoolsRemote, Environment, FluentRemote};

/// Regions of commercetools; isolated from each other (API reference, "Hosts").
pub const REGIONS: [&str; 5] =
    ["us-central1.gcp", "us-east-2.aws", "europe-west1.gcp", "eu-central-1.aws", "australia-southeast1.gcp"];

impl CommercetoolsRemote {
    /// Base of the HTTP API without the project key, without a slash at the end.
    pub fn api_url(&self) -> String {
        self.url(self.api_url.as_deref(), "api")
    }

    /// Base of the token endpoint, without a slash at the end.
    pub fn auth_url(&self) -> String {
        self.url(self.auth_url.as_deref(), "auth")
    }

    /// Base of the Import API without the project key, without a slash at the end.
    pub fn import_url(&self) -> String {
        self.url(self.import_url.as_deref(), "import")
    }

    fn url(&self, given: Option<&str>, host: &str) -> String {
        // `check` refuses a connection that has neither a region nor both URLs.
        let region = self.region.as_deref().unwrap_or_default();
        given.map_or_else(|| format!("https://{host}.{region}.commercetools.com"), |url| without_slash(url).to_owned())
    }
}

impl FluentRemote {
    /// Base of REST, GraphQL and token endpoint, without a slash at the end.
    pub fn base_url(&self) -> String {
        let environment = match self.environment {
            Environment::Sandbox => ".sandbox",
            Environment::Production => "",
        };
        let host = || format!("https://{}{environment}.api.fluentretail.com", self.account.to_lowercase());
        self.base_url.as_deref().map_or_else(host, |url| without_slash(url).to_owned())
    }
}

fn without_slash(url: &str) -> &str {
    url.trim_end_matches('/')
}
