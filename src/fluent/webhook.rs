//! Fluent webhooks: the signature over the raw bytes, and the few members that say what to read
//! (platform-fluent.md 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::Digest;

use crate::config::model::Signature;

/// A public key that may sign webhooks.
#[derive(Clone)]
pub struct Key {
    /// For SHA512withRSA, by a verifier that accepts the platform's 1024-bit keys.
    sha512: UnparsedPublicKey<Vec<u8>>,
    /// For MD5withRSA, which only this implementation offers.
    md5: RsaPublicKey,
}

/// The two signature headers as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signatures<'a> {
    /// `fluent-signature`, SHA512withRSA, base64.
    pub sha512: Option<&'a str>,
    /// `flex.signature`, MD5withRSA, base64.
    pub md5: Option<&'a str>,
}

/// What a webhook says about what changed (4.2). Ids come as text or number; all else is ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    #[serde(deserialize_with = "text")]
    pub id: String,
    pub name: String,
    #[serde(deserialize_with = "text")]
    pub account_id: String,
    #[serde(deserialize_with = "text")]
    pub retailer_id: String,
    #[serde(deserialize_with = "text")]
    pub entity_id: String,
    #[serde(deserialize_with = "text")]
    pub entity_ref: String,
    pub entity_type: String,
    /// For the operator only: the entity is read again.
    pub entity_status: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    pub root_entity_id: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    pub root_entity_ref: Option<String>,
    pub root_entity_type: Option<String>,
}

impl Key {
    /// Reads an x509 SubjectPublicKeyInfo, as base64 or PEM.
    ///
    /// # Errors
    /// A sentence that says what the text is not.
    pub fn parse(text: &str) -> Result<Self, String> {
        let body: String =
            text.lines().filter(|line| !line.starts_with("-----")).flat_map(str::split_whitespace).collect();
        let der = STANDARD.decode(body).map_err(|error| format!("the webhook key is not base64: {error}"))?;
        let key = RsaPublicKey::from_public_key_der(&der)
            .map_err(|error| format!("the webhook key is not an x509 RSA public key: {error}"))?;
        let pkcs1 = key.to_pkcs1_der().map_err(|error| format!("the webhook key cannot be used: {error}"))?;
        let sha512 = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, pkcs1.as_bytes().to_vec());
        Ok(Self { sha512, md5: key })
    }

    /// Length in bits; 1024 is what the platform uses and worth a warning.
    pub fn bits(&self) -> usize {
        self.md5.n().bits()
    }

    /// Does this key's signature over exactly these bytes hold?
    pub fn verifies(&self, body: &[u8], signatures: Signatures<'_>, accepted: Signature) -> bool {
        let decoded = |text: &str| STANDARD.decode(text.trim()).ok();
        if let Some(signature) = signatures.sha512.and_then(decoded) {
            return self.sha512.verify(body, &signature).is_ok();
        }
        match (accepted, signatures.md5.and_then(decoded)) {
            (Signature::Sha512OrMd5, Some(signature)) => {
                let digest = md5::Md5::digest(body);
                self.md5.verify(Pkcs1v15Sign::new::<md5::Md5>(), &digest, &signature).is_ok()
            }
            _ => false,
        }
    }
}

/// A member that is text or a number.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom("text or a number is expected")),
    }
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_numbers_and_unknown_members_are_ignored() {
        let webhook: Webhook = serde_json::from_str(
            r#"{"id":"w-1","name":"n","accountId":"ACME","retailerId":2,"entityId":6469,"entityRef":"HD_1",
                "entityType":"ORDER","attributes":[{"name":"a"}],"flexType":"x","rootEntityId":6469}"#,
        )
        .unwrap();
        assert_eq!((webhook.retailer_id.as_str(), webhook.entity_id.as_str()), ("2", "6469"));
        assert_eq!(webhook.root_entity_id.as_deref(), Some("6469"));
        let missing = serde_json::from_str::<Webhook>(r#"{"id":"w-1","name":"n"}"#).unwrap_err();
        assert!(missing.to_string().contains("accountId"), "{missing}");
    }
}
