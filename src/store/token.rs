//! Table `token`: API tokens, as hashes (`surfaces.md` 3).

use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;

use super::{Db, Result, Tx, on};
use crate::clock::Millis;

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
            sqlx::query("update token set last_used = $1 where id = $2").bind(at).bind(id).execute(c).await?.rows_affected()
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
