//! Table `token`: API tokens, as hashes (`surfaces.md` 3).
//!
//! `flc_<id>_<secret><check>`: the id is public, the secret has 256 bits and is shown once, the
//! check is the CRC-32 of the rest, so that a typing error is told without asking the database.

mod grant;

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use sqlx::types::Json;
use subtle::ConstantTimeEq;

use super::{Db, Result, Tx, on};
use crate::clock::Millis;

pub use grant::{Grant, ROLES, Wanted, every_scope};

/// One API token; the secret itself is never stored.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Token {
    /// Public part, 10 characters.
    pub id: String,
    pub name: String,
    /// SHA-256 of the secret with domain separation.
    #[serde(skip)]
    pub hash: Vec<u8>,
    pub scopes: Json<Vec<String>>,
    /// Connection names; `*` = all.
    pub connections: Json<Vec<String>>,
    pub created: Millis,
    pub created_by: String,
    pub expires: Option<Millis>,
    /// To the minute.
    pub last_used: Option<Millis>,
    pub revoked: Option<Millis>,
}

/// A token as somebody presents it.
pub struct Presented<'a> {
    pub id: &'a str,
    secret: &'a str,
}

const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID: usize = 10;
const SECRET: usize = 43;
const CHECK: usize = 6;

/// Makes a new id and the full token that is shown once.
pub fn generate() -> (String, SecretString) {
    let mut random = rand::rng();
    let mut pick = |alphabet: &[u8], count: usize| -> String {
        (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
    };
    let (id, secret) = (pick(BASE32, ID), pick(BASE62, SECRET));
    let rest = format!("flc_{id}_{secret}");
    let token = format!("{rest}{}", check(&rest));
    (id, token.into())
}

/// Splits a presented token; `None` if its form or checksum is wrong.
pub fn present(token: &str) -> Option<Presented<'_>> {
    let (rest, sum) = token.split_at_checked(token.len().checked_sub(CHECK)?)?;
    let (id, secret) = rest.strip_prefix("flc_")?.split_once('_')?;
    let formed = id.len() == ID && secret.len() == SECRET && check(rest) == sum;
    formed.then_some(Presented { id, secret })
}

/// What is stored instead of the secret.
pub fn hash(token: &SecretString) -> Option<Vec<u8>> {
    present(token.expose_secret()).map(|presented| presented.hash())
}

impl Token {
    /// Neither revoked nor expired at this moment.
    pub fn valid(&self, now: Millis) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

impl Presented<'_> {
    /// Is this the secret whose hash is stored? Takes the same time either way.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::new().chain_update(b"fluent-connector api token\0").chain_update(self.secret).finalize().to_vec()
    }
}

/// CRC-32 in six base62 digits.
fn check(rest: &str) -> String {
    let mut sum = crc32fast::hash(rest.as_bytes()) as usize;
    let mut digits = [0_u8; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[sum % BASE62.len()];
        sum /= BASE62.len();
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

impl Tx {
    /// Stores a new token.
    pub async fn put_token(&mut self, token: &Token) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into token (id, name, hash, scopes, connections, created, created_by, expires, last_used, \
                 revoked) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(&token.id)
            .bind(&token.name)
            .bind(&token.hash)
            .bind(&token.scopes)
            .bind(&token.connections)
            .bind(token.created)
            .bind(&token.created_by)
            .bind(token.expires)
            .bind(token.last_used)
            .bind(token.revoked)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
    }

    /// Revokes a token; `false` if there is none with this id, or it is revoked already.
    pub async fn revoke_token(&mut self, id: &str) -> Result<bool> {
        let now = self.clock.now();
        let revoked = on!(&mut self.db, |c| {
            sqlx::query("update token set revoked = $1 where id = $2 and revoked is null")
                .bind(now)
                .bind(id)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(revoked == 1)
    }

    /// Remembers that a token was used, to the minute.
    pub async fn touch_token(&mut self, id: &str, at: Millis) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("update token set last_used = $1 where id = $2")
                .bind(at)
                .bind(id)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(())
    }
}

impl Db {
    /// One token by its public id, revoked or not.
    pub async fn token(&mut self, id: &str) -> Result<Option<Token>> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select id, name, hash, scopes, connections, created, created_by, expires, last_used, revoked \
                 from token where id = $1",
            )
            .bind(id)
            .fetch_optional(c)
            .await?
        }))
    }

    /// All tokens, newest first.
    pub async fn tokens(&mut self) -> Result<Vec<Token>> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select id, name, hash, scopes, connections, created, created_by, expires, last_used, revoked \
                 from token order by created desc, id",
            )
            .fetch_all(c)
            .await?
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_published_form_and_a_wrong_letter_is_noticed() {
        let (id, token) = generate();
        let text = token.expose_secret();
        assert!(text.len() == 4 + 10 + 1 + 49 && text.starts_with(&format!("flc_{id}_")), "{text}");
        let presented = present(text).unwrap();
        assert!(presented.id == id && presented.matches(&hash(&token).unwrap()));
        let other = if text.ends_with('a') { "b" } else { "a" };
        assert!(present(&format!("{}{other}", &text[..text.len() - 1])).is_none());
        let (_, stranger) = generate();
        assert!(!presented.matches(&hash(&stranger).unwrap()));
    }
}
