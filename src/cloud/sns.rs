//! Messages of Amazon SNS as it posts them: signed with a certificate of Amazon's that the message
//! names, so that where it lies is as much checked as what it signs (`surfaces.md` 2.4).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use rsa::RsaPublicKey;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};
use webpki::{EndEntityCert, KeyUsage};

use super::Untrusted;
use super::web::Web;
use crate::clock::{Clock, Millis, parse_rfc3339};

/// How long a certificate is kept; its own dates are looked at each time.
const KEPT: Millis = 24 * 60 * 60 * 1000;
/// Older messages are refused.
const OLDEST: Millis = 24 * 60 * 60 * 1000;
/// Certificates at once; Amazon has one per region and changes it seldom.
const MOST: usize = 64;
/// Where the issuer of a certificate may be asked for, if it does not come with its chain.
const ISSUERS: &str = ".amazontrust.com";

/// What SNS posts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Envelope {
    #[serde(rename = "Type")]
    pub kind: String,
    pub message_id: String,
    pub topic_arn: String,
    pub subject: Option<String>,
    pub message: String,
    pub timestamp: String,
    pub signature_version: String,
    pub signature: String,
    #[serde(rename = "SigningCertURL")]
    pub signing_cert_url: String,
    /// Of confirmations.
    pub token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    pub subscribe_url: Option<String>,
}

/// The certificates that were seen, fetched once for all.
pub struct Certificates {
    web: Arc<Web>,
    clock: Clock,
    held: Mutex<HashMap<String, Held>>,
    simulated_root: OnceCell<Vec<u8>>,
}

#[derive(Clone)]
struct Held {
    until: Millis,
    /// The certificate itself, then its issuers.
    chain: Arc<Vec<CertificateDer<'static>>>,
}

impl Envelope {
    /// What is signed (SNS developer guide, "Verifying the signatures of Amazon SNS messages").
    fn text(&self) -> String {
        let subject = self.subject.as_deref();
        let members: &[(&str, Option<&str>)] = match self.kind.as_str() {
            "Notification" => &[
                ("Message", Some(&self.message)),
                ("MessageId", Some(&self.message_id)),
                ("Subject", subject),
                ("Timestamp", Some(&self.timestamp)),
                ("TopicArn", Some(&self.topic_arn)),
                ("Type", Some(&self.kind)),
            ],
            _ => &[
                ("Message", Some(&self.message)),
                ("MessageId", Some(&self.message_id)),
                ("SubscribeURL", self.subscribe_url.as_deref()),
                ("Timestamp", Some(&self.timestamp)),
                ("Token", self.token.as_deref()),
                ("TopicArn", Some(&self.topic_arn)),
                ("Type", Some(&self.kind)),
            ],
        };
        let told = members.iter().filter_map(|(name, value)| Some(format!("{name}\n{}\n", (*value)?)));
        told.collect()
    }

    fn algorithm(&self, allow_sha1: bool) -> Result<&'static RsaParameters, Untrusted> {
        match self.signature_version.as_str() {
            "2" => Ok(&RSA_PKCS1_2048_8192_SHA256),
            "1" if allow_sha1 => Ok(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
            "1" => Err(refused("Signature version 1 is not taken; set SignatureVersion 2 on the topic.")),
            _ => Err(refused("The signature version is unknown.")),
        }
    }
}

impl Certificates {
    pub(super) fn new(web: Arc<Web>, clock: Clock) -> Self {
        Self { web, clock, held: Mutex::default(), simulated_root: OnceCell::new() }
    }

    /// Did Amazon sign this, of one of `topics`, within the last day?
    ///
    /// # Errors
    /// [`Untrusted`] with the first thing that is wrong. What costs nothing comes first.
    pub async fn verify(&self, envelope: &Envelope, topics: &[String], allow_sha1: bool) -> Result<(), Untrusted> {
        if !topics.contains(&envelope.topic_arn) {
            return Err(refused("The topic is not one of intake.push.sns.topics."));
        }
        let algorithm = envelope.algorithm(allow_sha1)?;
        let sent = parse_rfc3339(&envelope.timestamp).ok_or_else(|| refused("The timestamp is no instant."))?;
        if self.clock.now() - sent > OLDEST {
            return Err(refused("The message is older than 24 hours."));
        }
        let url = certificate_url(&envelope.signing_cert_url)
            .ok_or_else(|| refused("The certificate does not lie where Amazon keeps those of SNS."))?;
        let signature = STANDARD.decode(&envelope.signature).map_err(|_| refused("The signature is not base64."))?;
        let certificate = self.certificate(&url).await?;
        let key = public_key(&certificate).map_err(refused)?;
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(envelope.text().as_bytes(), &signature)
            .map_err(|_| refused("The signature of the message does not hold."))
    }

    /// Confirms a subscription whose message was verified.
    ///
    /// # Errors
    /// [`Untrusted::Refused`] if the URL is not one of SNS.
    pub async fn confirm(&self, envelope: &Envelope) -> Result<(), Untrusted> {
        let url = envelope.subscribe_url.as_deref().and_then(of_sns);
        let url = url.ok_or_else(|| refused("The subscription is not to be confirmed at SNS."))?;
        self.web.get("GET the confirmation of a subscription", url.as_str()).await.map_err(Untrusted::NotNow)?;
        Ok(())
    }

    /// A certificate that holds now, in DER.
    async fn certificate(&self, url: &Url) -> Result<CertificateDer<'static>, Untrusted> {
        let mut all = self.held.lock().await;
        let now = self.clock.now();
        all.retain(|_, held| now < held.until);
        let chain = match all.get(url.as_str()) {
            Some(held) => held.chain.clone(),
            None => {
                let chain = Arc::new(self.fetch(url).await.map_err(|why| {
                    tracing::warn!("the certificate {url} cannot be fetched: {why}");
                    Untrusted::NotNow(why)
                })?);
                if all.len() >= MOST {
                    all.clear();
                }
                all.insert(url.to_string(), Held { until: now + KEPT, chain: chain.clone() });
                chain
            }
        };
        drop(all);
        let simulated = self.simulated_root().await.map_err(Untrusted::NotNow)?;
        holds(&chain, url, now, simulated).map_err(refused)?;
        chain.first().cloned().ok_or_else(|| refused("There is no certificate."))
    }

    /// The certificate with its issuers: those that come with it, else the one it names.
    async fn fetch(&self, url: &Url) -> Result<Vec<CertificateDer<'static>>, String> {
        let answer = self.web.get("GET a certificate of SNS", url.as_str()).await?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&answer.body).collect();
        let mut chain = chain.map_err(|error| format!("It is no certificate: {error}."))?;
        if let [alone] = &chain[..]
            && let Some(issuer) = issuer_url(alone)
        {
            let answer = self.web.get("GET the issuer of a certificate", issuer.as_str()).await?;
            chain.push(CertificateDer::from(answer.body));
        }
        Ok(chain)
    }

    /// The issuer of a rehearsal; `None` = those that everybody trusts.
    async fn simulated_root(&self) -> Result<Option<&[u8]>, String> {
        if !self.web.is_simulated() {
            return Ok(None);
        }
        let fetch = async || Ok(self.web.get("GET the simulated root", "https://root/root.der").await?.body);
        self.simulated_root.get_or_try_init(fetch).await.map(|root| Some(root.as_slice()))
    }
}

/// Is the first certificate issued, through the others, by an issuer everybody trusts, for SNS, and
/// valid now?
fn holds(chain: &[CertificateDer<'_>], url: &Url, now: Millis, root: Option<&[u8]>) -> Result<(), String> {
    let (leaf, issuers) = chain.split_first().ok_or("There is no certificate.")?;
    let wrong = |error: &dyn std::fmt::Display| format!("The certificate of the signature does not hold: {error}.");
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| wrong(&error))?;
    let root = root.map(|root| CertificateDer::from(root.to_vec()));
    let own: Vec<TrustAnchor<'_>> = match &root {
        Some(root) => vec![webpki::anchor_from_trusted_cert(root).map_err(|error| wrong(&error))?],
        None => Vec::new(),
    };
    let anchors = if root.is_some() { own.as_slice() } else { webpki_roots::TLS_SERVER_ROOTS };
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now.max(0) as u64));
    let usage = KeyUsage::server_auth();
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, issuers, time, usage, None, None)
        .map_err(|error| wrong(&error))?;
    let named = names(url).into_iter().filter_map(|name| ServerName::try_from(name).ok());
    match named.into_iter().any(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok()) {
        true => Ok(()),
        false => Err("The certificate of the signature is not one of SNS.".into()),
    }
}

/// How Amazon names the certificate: one for most regions, own ones for the others.
fn names(url: &Url) -> Vec<String> {
    let host = url.host_str().unwrap_or_default();
    let rest = host.strip_prefix("sns.").unwrap_or(host);
    vec!["sns.amazonaws.com".into(), host.to_owned(), format!("sns-{rest}"), format!("sns-signing.{rest}")]
}

/// The public key of a certificate, in PKCS #1.
fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, String> {
    let unusable = "The certificate of the signature has no RSA key.";
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| unusable)?;
    let key = RsaPublicKey::from_public_key_der(&parsed.subject_public_key_info()).map_err(|_| unusable)?;
    Ok(key.to_pkcs1_der().map_err(|_| unusable)?.as_bytes().to_vec())
}

/// `https://sns.<region>.amazonaws.com/SimpleNotificationService-….pem`, also in China.
fn certificate_url(text: &str) -> Option<Url> {
    let url = of_sns(text).filter(|url| url.query().is_none() && url.fragment().is_none())?;
    let name = url.path().strip_prefix("/SimpleNotificationService-")?.strip_suffix(".pem")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!name.is_empty() && name.chars().all(legal)).then_some(url)
}

/// A URL on a host of SNS, https on port 443, without credentials.
fn of_sns(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let region = host.strip_prefix("sns.")?;
    let region = region.strip_suffix(".amazonaws.com").or_else(|| region.strip_suffix(".amazonaws.com.cn"))?;
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_region = !region.is_empty() && region.chars().all(legal);
    let is_plain = url.scheme() == "https" && url.port_or_known_default() == Some(443);
    let is_bare = url.username().is_empty() && url.password().is_none();
    (is_region && is_plain && is_bare).then_some(url)
}

/// Where a certificate says that its issuer lies (RFC 5280 4.2.2.1, `caIssuers`), if that is a place
/// of Amazon's. What lies there is verified like any issuer that comes along.
fn issuer_url(certificate: &[u8]) -> Option<Url> {
    // The object identifier 1.3.6.1.5.5.7.48.2, then a name of the kind URI.
    const CA_ISSUERS: [u8; 11] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02, 0x86];
    let at = certificate.windows(CA_ISSUERS.len()).position(|bytes| bytes == CA_ISSUERS)? + CA_ISSUERS.len();
    let length = usize::from(*certificate.get(at)?);
    let text = std::str::from_utf8(certificate.get(at + 1..at + 1 + length)?).ok()?;
    let url = Url::parse(text).ok()?;
    let is_theirs = url.host_str()?.ends_with(ISSUERS) && matches!(url.scheme(), "http" | "https");
    (is_theirs && url.port().is_none()).then_some(url)
}

fn refused(why: impl Into<String>) -> Untrusted {
    Untrusted::Refused(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_lie_with_sns_and_nowhere_else() {
        let file = "SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem";
        for host in
            ["sns.eu-central-1.amazonaws.com", "sns.us-east-1.amazonaws.com:443", "sns.cn-north-1.amazonaws.com.cn"]
        {
            assert!(certificate_url(&format!("https://{host}/{file}")).is_some(), "{host}");
        }
        for url in [
            format!("http://sns.eu-central-1.amazonaws.com/{file}"),
            format!("https://sns.eu-central-1.amazonaws.com:8443/{file}"),
            format!("https://sns.eu-central-1.amazonaws.com.evil.example/{file}"),
            format!("https://sns.evil.example/.amazonaws.com/{file}"),
            format!("https://sns.a.b.amazonaws.com/{file}"),
            format!("https://sns..amazonaws.com/{file}"),
            format!("https://s3.eu-central-1.amazonaws.com/{file}"),
            format!("https://bucket-sns.eu-central-1.amazonaws.com/{file}"),
            format!("https://user@sns.eu-central-1.amazonaws.com/{file}"),
            format!("https://sns.eu-central-1.amazonaws.com@evil.example/{file}"),
            format!("https://sns.eu-central-1.amazonaws.com/../{file}/x.pem"),
            format!("https://sns.eu-central-1.amazonaws.com/other/{file}"),
            format!("https://sns.eu-central-1.amazonaws.com/{file}?x=.pem"),
            "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-.pem".into(),
            "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a/b.pem".into(),
            "https://127.0.0.1/SimpleNotificationService-a.pem".into(),
            "not a url".into(),
        ] {
            assert!(certificate_url(&url).is_none(), "{url}");
        }
    }

    #[test]
    fn what_is_signed_is_every_member_in_its_order() {
        let mut envelope: Envelope = serde_json::from_str(
            r#"{"Type":"Notification","MessageId":"m","TopicArn":"t","Message":"x","Timestamp":"n",
                "SignatureVersion":"2","Signature":"","SigningCertURL":""}"#,
        )
        .unwrap();
        assert_eq!(envelope.text(), "Message\nx\nMessageId\nm\nTimestamp\nn\nTopicArn\nt\nType\nNotification\n");
        envelope.subject = Some("s".into());
        assert!(envelope.text().starts_with("Message\nx\nMessageId\nm\nSubject\ns\nTimestamp\n"));
        envelope.kind = "SubscriptionConfirmation".into();
        (envelope.token, envelope.subscribe_url) = (Some("k".into()), Some("u".into()));
        let text = "Message\nx\nMessageId\nm\nSubscribeURL\nu\nTimestamp\nn\nToken\nk\nTopicArn\nt\nType\n\
                    SubscriptionConfirmation\n";
        assert_eq!(envelope.text(), text);
    }
}
