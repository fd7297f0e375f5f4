//! Tables `message` and `idempotency`: which keys were put already.

use sqlx::QueryBuilder;

use super::{Db, Result, on};

impl Db {
    /// Which of these keys a message of one of `routes` was put with, also if it was pruned meanwhile.
    pub async fn known_keys(&mut self, connection: &str, routes: &[&str], keys: &[String]) -> Result<Vec<String>> {
        if routes.is_empty() || keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("");
            for (n, table) in ["message", "idempotency"].into_iter().enumerate() {
                select.push(if n == 0 { "select key from " } else { " union select key from " }).push(table);
                select.push(" where connection = ").push_bind(connection.to_owned());
                let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
                for (column, values) in [("route", routes.as_slice()), ("key", keys)] {
                    select.push(" and ").push(column).push(" in (");
                    let mut list = select.separated(", ");
                    for value in values {
                        list.push_bind(value.clone());
                    }
                    select.push(")");
                }
            }
            select.build_query_scalar().persistent(false).fetch_all(c).await?
        }))
    }
}
