//! Webhook signatures: RSA PKCS#1 v1.5 over the raw body (platform document 4.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rsa::signature::{SignatureEncoding, Signer};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha2::Sha512;

/// Signs with the public test key of one size.
pub struct Signature {
    key: RsaPrivateKey,
    sha512: SigningKey<Sha512>,
}

impl Signature {
    /// `bits` is 1024 (what the platform uses) or 2048; other sizes are refused.
    pub fn new(bits: usize) -> std::io::Result<Self> {
        let pem = match bits {
            1024 => include_str!("public-test-key-1024.pem"),
            2048 => include_str!("public-test-key-2048.pem"),
            _ => return Err(std::io::Error::other(format!("there is no test key of {bits} bits, only 1024 and 2048"))),
        };
        let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(std::io::Error::other)?;
        Ok(Self { sha512: SigningKey::new(key.clone()), key })
    }

    /// The public key as the platform publishes it: X.509 SPKI, base64.
    pub fn public_key(&self) -> std::io::Result<String> {
        let der = self.key.to_public_key().to_public_key_der().map_err(std::io::Error::other)?;
        Ok(STANDARD.encode(der.as_bytes()))
    }

    /// `fluent-signature` (SHA512withRSA) and `flex.signature` (MD5withRSA) of a body.
    pub fn sign(&self, body: &[u8]) -> (String, String) {
        (STANDARD.encode(self.sha512.sign(body).to_bytes()), STANDARD.encode(self.md5(body)))
    }

    fn md5(&self, body: &[u8]) -> Vec<u8> {
        // Fails only for a digest of another length or a key too small for it; both are fixed here.
        self.key.sign(md5_scheme(), &Md5::digest(body)).unwrap_or_default()
    }
}

/// The MD5 crate is built without its OID, so the DigestInfo prefix (RFC 8017, 9.2 note 1) is
/// written out.
fn md5_scheme() -> Pkcs1v15Sign {
    let prefix =
        [0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00, 0x04, 0x10];
    Pkcs1v15Sign { hash_len: Some(16), prefix: Box::new(prefix) }
}

#[cfg(test)]
mod tests {
    use rsa::RsaPublicKey;
    use rsa::pkcs1v15::VerifyingKey;
    use rsa::pkcs8::DecodePublicKey;
    use rsa::signature::Verifier;

    use super::*;

    #[test]
    fn both_sizes_verify_with_the_published_key() {
        for (bits, start) in [(1024, "MIGfMA0GCSqGSIb3"), (2048, "MIIBIjANBgkqhkiG")] {
            let signature = Signature::new(bits).unwrap();
            let published = signature.public_key().unwrap();
            assert!(published.starts_with(start), "{published}");
            let key = RsaPublicKey::from_public_key_der(&STANDARD.decode(published).unwrap()).unwrap();
            let (sha512, md5) = signature.sign(b"{}");
            let sha512 = rsa::pkcs1v15::Signature::try_from(STANDARD.decode(sha512).unwrap().as_slice()).unwrap();
            let verifying = VerifyingKey::<Sha512>::new(key.clone());
            verifying.verify(b"{}", &sha512).unwrap();
            assert!(verifying.verify(b"{ }", &sha512).is_err());
            key.verify(md5_scheme(), &Md5::digest(b"{}"), &STANDARD.decode(md5).unwrap()).unwrap();
        }
    }

    #[test]
    fn signatures_are_those_of_openssl() {
        // openssl dgst -sha512 -sign <key>, openssl dgst -md5 -sign <key>, over `{}`.
        let sha512 = "Pv8FoXtctPs5xfEfvjJ4/AmjRliQwCtojIwHD79syXAZpeUgjfR7/lem9vCuhoZYZjH4EkVwlGyGbWkzvGShpNub6YRxedfo8PSIRYLY2SXyCCN0IOkWGIVkkE0UJcXtlI5dOgU3zShgV3pb8YbBaWVgcOD5SntydzoBTKXcMeM=";
        let md5 = "ncldl8+s/HyPR58Ub/IQxRlQCAnWUq8bmiEXEkO+AjCuk5xNU44XjwDd/iAp6tN1jnU5Mkf60IVrsFUtvskOC7IUhw8pJE+cWBplFTixC/gpLV0xgNb8lggVoF586h7JA7sBB9OeNEEkQCKh9tZ3Jkcj+AI6xlfNs5LcnVoaiHo=";
        assert_eq!(Signature::new(1024).unwrap().sign(b"{}"), (sha512.to_owned(), md5.to_owned()));
    }
}
