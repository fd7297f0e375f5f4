//! Signature Version 4 of AWS, as far as it is needed: a POST to `/` without a query.

use chrono::{DateTime, Utc};
use ring::{digest, hmac};
use secrecy::ExposeSecret;

use super::credentials::Keys;
use crate::clock::Millis;

/// What is signed, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Host with its port, if it is not the scheme's own.
    pub host: &'a str,
    /// Further headers, lower-case names in order.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    pub region: &'a str,
    /// `sqs`
    pub service: &'a str,
    pub at: Millis,
}

/// The headers that make a request a signed one: `x-amz-date`, `x-amz-security-token`, `authorization`.
pub fn sign(request: Signed<'_>, keys: &Keys) -> Vec<(&'static str, String)> {
    let time = DateTime::<Utc>::from_timestamp_millis(request.at).unwrap_or_default();
    let (date, day) = (time.format("%Y%m%dT%H%M%SZ").to_string(), time.format("%Y%m%d").to_string());
    let session = keys.session.as_ref().map(|session| session.expose_secret().to_owned());
    let mut headers = request.headers.to_vec();
    headers.extend([("host", request.host), ("x-amz-date", date.as_str())]);
    headers.extend(session.as_deref().map(|session| ("x-amz-security-token", session)));
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hashed(request.body));
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hashed(canonical.as_bytes()));
    let start = format!("AWS4{}", keys.secret.expose_secret());
    let key = [day.as_str(), request.region, request.service, "aws4_request"]
        .iter()
        .fold(start.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, text.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.id);
    let mut signed = vec![("x-amz-date", date.clone()), ("authorization", authorization)];
    signed.extend(session.map(|session| ("x-amz-security-token", session)));
    signed
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hashed(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339;

    fn signature(headers: &[(&str, &str)], body: &[u8], session: Option<&str>) -> String {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: session.map(Into::into),
            expires: None,
        };
        let at = parse_rfc3339("2015-08-30T12:36:00Z").unwrap();
        let request =
            Signed { host: "example.amazonaws.com", headers, body, region: "us-east-1", service: "service", at };
        let signed = sign(request, &keys);
        signed.into_iter().find(|(name, _)| *name == "authorization").unwrap().1
    }

    /// Vectors of the published test suite (`post-vanilla`, `post-x-www-form-urlencoded`).
    #[test]
    fn the_published_vectors_come_out() {
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        assert_eq!(
            signature(&[], b"", None),
            format!(
                "{scope}host;x-amz-date, \
                 Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
            )
        );
        assert_eq!(
            signature(&[("content-type", "application/x-www-form-urlencoded")], b"Param1=value1", None),
            format!(
                "{scope}content-type;host;x-amz-date, \
                 Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
            )
        );
    }

    #[test]
    fn a_session_is_signed_too() {
        let signed = signature(&[], b"", Some("session"));
        assert!(signed.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{signed}");
    }
}
