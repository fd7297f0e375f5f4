//! Categories and products (platform document 2.1 "update semantics", 2.8 "Catalogue").

use std::sync::Arc;

use serde_json::{Value, json};

use super::account::{Account, members};
use super::store::{Document, Refusal, copy, link, linked, upsert};
use super::workflow::Step;

impl Account {
    /// Refuses an unknown catalogue or parent (C0120E) and a ref taken in the catalogue (C0123E).
    pub fn create_category(&mut self, input: &Value) -> Result<u64, Refusal> {
        let catalogue = self.need_catalogue(&input["catalogue"])?;
        if self.keyed("Category", input).is_some() {
            return Err(Refusal::taken("Category", &input["ref"]));
        }
        let (parent, children) = self.family(input)?;
        let mut category = self.orchestrated("PRODUCT_CATALOGUE::MASTER", input);
        category.insert("catalogue".into(), link(catalogue));
        copy(&mut category, input, &["name", "summary"]);
        let id = self.create("createCategory", "Category", category, input);
        self.settle_family(id, parent, &children);
        self.schedule(self.now(), Step::Activate(id));
        Ok(id)
    }

    /// Refuses an unknown category or parent (C0120E). A null parent leaves the category where it is.
    pub fn update_category(&mut self, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_keyed("Category", input)?;
        let (parent, children) = self.family(input)?;
        if parent == Some(id) {
            return Err(Refusal::new("C0160E", "a category cannot be its own parent"));
        }
        let moved = self.settle_family(id, parent, &children);
        self.change(
            "updateCategory",
            id,
            input,
            |category| {
                copy(category, input, &["type", "status", "name", "summary"]);
                upsert(category, "attributes", input.get("attributes"), &["name"]);
            },
            moved,
        );
        Ok(id)
    }

    /// True if a link changed.
    fn settle_family(&mut self, id: u64, parent: Option<u64>, children: &[u64]) -> bool {
        let mut moved = parent.is_some_and(|parent| self.adopt(id, "parentCategory", parent, "childCategories"));
        for child in children {
            moved |= self.adopt(*child, "parentCategory", id, "childCategories");
        }
        moved
    }

    fn family(&self, input: &Value) -> Result<(Option<u64>, Vec<u64>), Refusal> {
        let parent = match &input["parentCategory"] {
            Value::Null => None,
            key => Some(self.need_keyed("Category", key)?),
        };
        Ok((parent, self.need_links("Category", &input["childCategories"])?))
    }

    /// Makes `child` a member of `parent`: the child names its parent, the parent lists its children.
    /// True if it was not one before.
    fn adopt(&mut self, child: u64, member: &str, parent: u64, list: &str) -> bool {
        let old = self.store.any(child).and_then(|child| child.get(member).and_then(linked));
        if let Some(old) = old.filter(|old| *old != parent) {
            self.store.detach(old, list, child);
        }
        self.store.attach(parent, list, child);
        if old != Some(parent) {
            let now = self.now();
            self.store.edit(child, now, |child| {
                child.insert(member.into(), link(parent));
            });
        }
        old != Some(parent)
    }

    /// Refuses an unknown catalogue, category, standard product or variant (C0120E) and a ref taken
    /// among the products of this kind in the catalogue (C0123E).
    pub fn create_product(&mut self, kind: &str, operation: &str, input: &Value) -> Result<u64, Refusal> {
        let catalogue = self.need_catalogue(&input["catalogue"])?;
        if self.keyed(kind, input).is_some() {
            return Err(Refusal::taken(kind, &input["ref"]));
        }
        let links = self.product_links(input)?;
        let mut product = self.orchestrated("PRODUCT_CATALOGUE::MASTER", input);
        product.insert("catalogue".into(), link(catalogue));
        product.insert("categories".into(), json!([]));
        write_product(&mut product, input, &links);
        let id = self.create(operation, kind, product, input);
        self.settle_variants(id, &links);
        self.schedule(self.now(), Step::Activate(id));
        Ok(id)
    }

    /// Refuses an unknown product, category, standard product or variant (C0120E).
    pub fn update_product(&mut self, kind: &str, operation: &str, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_keyed(kind, input)?;
        let links = self.product_links(input)?;
        let moved = self.settle_variants(id, &links);
        self.change(
            operation,
            id,
            input,
            |product| {
                copy(product, input, &["type", "status"]);
                upsert(product, "attributes", input.get("attributes"), &["name"]);
                write_product(product, input, &links);
            },
            moved,
        );
        Ok(id)
    }

    fn product_links(&self, input: &Value) -> Result<ProductLinks, Refusal> {
        Ok(ProductLinks {
            categories: self.need_links("Category", &input["categories"])?,
            variants: self.need_links("VariantProduct", &input["variants"])?,
            standard: match &input["product"] {
                Value::Null => None,
                key => Some(self.need_keyed("StandardProduct", key)?),
            },
        })
    }

    /// True if a link changed.
    fn settle_variants(&mut self, id: u64, links: &ProductLinks) -> bool {
        let mut moved = links.standard.is_some_and(|standard| self.adopt(id, "product", standard, "variants"));
        for variant in &links.variants {
            moved |= self.adopt(*variant, "product", id, "variants");
        }
        moved
    }

    /// Unlinks categories. Refuses an unknown product or category (C0120E).
    pub fn remove_categories(&mut self, kind: &str, operation: &str, input: &Value) -> Result<Arc<Document>, Refusal> {
        let key = if kind == "StandardProduct" { "standardProduct" } else { "variantProduct" };
        let id = self.need_keyed(kind, &input[key])?;
        let gone = self.need_links("Category", &input["categories"])?;
        self.change(
            operation,
            id,
            input,
            |product| {
                retain(product, "categories", |link| linked(link).is_some_and(|id| !gone.contains(&id)));
            },
            false,
        );
        Ok(Arc::new(members(json!({"status": "SUCCESS"}))))
    }
}

struct ProductLinks {
    categories: Vec<u64>,
    variants: Vec<u64>,
    standard: Option<u64>,
}

fn write_product(product: &mut Document, input: &Value, links: &ProductLinks) {
    copy(product, input, &["gtin", "name", "summary"]);
    upsert(product, "prices", input.get("prices"), &["type", "currency"]);
    if let Some(tax) = input.get("taxType").filter(|tax| !tax.is_null()) {
        product.insert("tax".into(), tax.clone());
    }
    if let Some(Value::Array(categories)) = product.get_mut("categories") {
        let new = links.categories.iter().map(|id| link(*id));
        let new: Vec<_> = new.filter(|link| !categories.contains(link)).collect();
        categories.extend(new);
    }
}

fn retain(document: &mut Document, list: &str, keep: impl Fn(&Value) -> bool) {
    if let Some(Value::Array(links)) = document.get_mut(list) {
        links.retain(keep);
    }
}
