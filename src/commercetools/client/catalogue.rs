//! Reading the catalogue: categories, published products, standalone prices.

use super::{Client, Page, Query, Settings};
use crate::commercetools::catalogue::{Category, Keyed, ProductProjection, StandalonePrice};
use crate::remote::Error;

/// Most SKUs of one query: more would make the URL too long (A2).
const SKUS: usize = 100;
/// Largest page (A2).
const PAGE: u16 = 500;

impl Client {
    /// `GET /categories/{id}` with its parent; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn category(&self, id: &str) -> Result<Option<Category>, Error> {
        self.find("GET /categories/{id}", &format!("/categories/{id}"), &[("expand", "parent")]).await
    }

    /// The published projection of a product with its categories; `None` = 404: not published, or
    /// deleted.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn product_projection(&self, id: &str) -> Result<Option<ProductProjection>, Error> {
        let query = [("staged", "false"), ("expand", "categories[*]")];
        self.find("GET /product-projections/{id}", &format!("/product-projections/{id}"), &query).await
    }

    /// Is there a product with this id, published or not?
    ///
    /// # Errors
    /// As the error table says.
    pub async fn product_exists(&self, id: &str) -> Result<bool, Error> {
        let found: Option<serde_json::Value> = self.find("GET /products/{id}", &format!("/products/{id}"), &[]).await?;
        Ok(found.is_some())
    }

    /// The tax category with this id, as it was at most ten minutes ago; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn tax_category(&self, id: &str) -> Result<Option<Keyed>, Error> {
        self.defined("GET /tax-categories/{id}", &format!("/tax-categories/{id}")).await
    }

    /// The project's settings as they were at most ten minutes ago.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn remembered_settings(&self) -> Result<Option<Settings>, Error> {
        self.defined("GET /{projectKey}", "").await
    }

    /// The SKU of a standalone price; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn sku_of_price(&self, id: &str) -> Result<Option<String>, Error> {
        let operation = "GET /standalone-prices/{id}";
        let price: Option<StandalonePrice> = self.find(operation, &format!("/standalone-prices/{id}"), &[]).await?;
        Ok(price.map(|price| price.sku))
    }

    /// All standalone prices of these SKUs that are active.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn standalone_prices(&self, skus: &[&str]) -> Result<Vec<StandalonePrice>, Error> {
        let mut prices = Vec::new();
        for skus in skus.chunks(SKUS) {
            let quoted: Vec<String> = skus.iter().map(|sku| serde_json::Value::from(*sku).to_string()).collect();
            let mut query = Query {
                predicates: vec![format!("sku in ({})", quoted.join(", "))],
                variables: vec![],
                sort: vec!["id asc".into()],
                limit: PAGE,
            };
            loop {
                let page: Page<StandalonePrice> = self.query("GET /standalone-prices", &query).await?;
                let last = page.results.last().map(|price| price.id.clone());
                let more = page.results.len() >= usize::from(PAGE);
                prices.extend(page.results);
                let Some(last) = last.filter(|_| more) else { break };
                query.predicates.truncate(1);
                query.predicates.push("id > :last".into());
                query.variables = vec![("last".into(), last)];
            }
        }
        prices.retain(|price| price.active != Some(false));
        Ok(prices)
    }
}
