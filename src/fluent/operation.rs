//! The GraphQL operations we send, one `.graphql` file each (C 11, F 1.12).

/// One operation: its text and what it may change.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Name of the operation inside the text.
    pub name: &'static str,
    /// The root field, as an operator knows it from Fluent's permissions.
    pub field: &'static str,
    pub text: &'static str,
    /// Mutations have unknown outcomes; queries do not.
    pub write: bool,
}

macro_rules! operations {
    ($($constant:ident = $name:literal, $field:literal, $file:literal $(, $write:ident)?;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: Operation =
                Operation { name: $name, field: $field, text: include_str!($file), write: operations!(@ $($write)?) };
        )*
        /// Every operation, for tests that check them against the schema.
        pub const ALL: &[Operation] = &[$($constant),*];
    };
    (@) => { false };
    (@ write) => { true };
}

operations! {
    ME = "Me", "me", "me.graphql";
    CUSTOMERS_BY_USERNAME = "CustomersByUsername", "customers", "customers_by_username.graphql";
    CUSTOMERS_BY_EMAIL = "CustomersByEmail", "customers", "customers_by_email.graphql";
    CREATE_CUSTOMER = "CreateCustomer", "createCustomer", "create_customer.graphql", write;
    UPDATE_CUSTOMER = "UpdateCustomer", "updateCustomer", "update_customer.graphql", write;
    VARIANTS_BY_REF = "VariantsByRef", "variantProducts", "variants_by_ref.graphql";
    CREATE_STANDARD_PRODUCT = "CreateStandardProduct", "createStandardProduct", "create_standard_product.graphql", write;
    CREATE_VARIANT_PRODUCT = "CreateVariantProduct", "createVariantProduct", "create_variant_product.graphql", write;
    CATEGORY_BY_REF = "CategoryByRef", "category", "category_by_ref.graphql";
    CREATE_CATEGORY = "CreateCategory", "createCategory", "create_category.graphql", write;
    UPDATE_CATEGORY = "UpdateCategory", "updateCategory", "update_category.graphql", write;
    PRODUCTS_BY_REF = "ProductsByRef", "standardProducts", "products_by_ref.graphql";
    UPDATE_STANDARD_PRODUCT = "UpdateStandardProduct", "updateStandardProduct", "update_standard_product.graphql", write;
    UPDATE_VARIANT_PRODUCT = "UpdateVariantProduct", "updateVariantProduct", "update_variant_product.graphql", write;
    REMOVE_CATEGORIES_FROM_STANDARD_PRODUCT = "RemoveCategoriesFromStandardProduct", "removeCategoriesFromStandardProduct", "remove_categories_from_standard_product.graphql", write;
    REMOVE_CATEGORIES_FROM_VARIANT_PRODUCT = "RemoveCategoriesFromVariantProduct", "removeCategoriesFromVariantProduct", "remove_categories_from_variant_product.graphql", write;
    ORDERS_BY_REF = "OrdersByRef", "orders", "orders_by_ref.graphql";
    ORDER_ITEMS = "OrderItems", "orderById", "order_items.graphql";
    CREATE_ORDER = "CreateOrder", "createOrder", "create_order.graphql", write;
    ORDER_BY_ID = "OrderById", "orderById", "order_by_id.graphql";
    UPDATE_ORDER = "UpdateOrder", "updateOrder", "update_order.graphql", write;
    UPDATE_FULFILMENT_CHOICE = "UpdateFulfilmentChoice", "updateFulfilmentChoice", "update_fulfilment_choice.graphql", write;
    UPDATE_CUSTOMER_ADDRESS = "UpdateCustomerAddress", "updateCustomerAddress", "update_customer_address.graphql", write;
    ORDER_TRANSACTIONS = "OrderTransactions", "orderById", "order_transactions.graphql";
    CREATE_FINANCIAL_TRANSACTION = "CreateFinancialTransaction", "createFinancialTransaction", "create_financial_transaction.graphql", write;
    ORDER_UPDATE_SOURCE = "OrderUpdateSource", "orderById", "order_update_source.graphql";
    ORDER_STATUSES = "OrderStatuses", "orders", "order_statuses.graphql";
    FULFILMENT_ITEMS = "FulfilmentItems", "fulfilmentById", "fulfilment_items.graphql";
    LOCATION_NAMES = "LocationNames", "locations", "location_names.graphql";
    CONSIGNMENT_SOURCE = "ConsignmentSource", "consignmentById", "consignment_source.graphql";
    ARTICLE_ITEMS = "ArticleItems", "articleById", "article_items.graphql";
    RETURN_SOURCE = "ReturnSource", "returnOrder", "return_source.graphql";
    FULFILMENTS_UPDATED = "FulfilmentsUpdated", "fulfilments", "fulfilments_updated.graphql";
    CONSIGNMENTS_UPDATED = "ConsignmentsUpdated", "consignments", "consignments_updated.graphql";
    RETURNS_UPDATED = "ReturnsUpdated", "returnOrders", "returns_updated.graphql";
    ORDERS_UPDATED = "OrdersUpdated", "orders", "orders_updated.graphql";
    LOCATIONS = "Locations", "locations", "locations.graphql";
    ALL_LOCATIONS = "AllLocations", "locations", "all_locations.graphql";
    LOCATION_BY_ID = "LocationById", "locationById", "location_by_id.graphql";
    VIRTUAL_POSITIONS_UPDATED = "VirtualPositionsUpdated", "virtualPositions", "virtual_positions_updated.graphql";
    ALL_VIRTUAL_POSITIONS = "AllVirtualPositions", "virtualPositions", "all_virtual_positions.graphql";
    VIRTUAL_POSITIONS_BY_REF = "VirtualPositionsByRef", "virtualPositions", "virtual_positions_by_ref.graphql";
    VIRTUAL_POSITION = "VirtualPosition", "virtualPosition", "virtual_position.graphql";
}

/// Smallest page that is asked for when a query is too complex (F 1.7).
const SMALLEST: usize = 10;

/// The text with its largest page halved; `None` if all pages are as small as they may be.
pub fn with_smaller_pages(text: &str) -> Option<String> {
    const FIRST: &str = "first: ";
    let sizes = text.match_indices(FIRST).filter_map(|(at, _)| {
        let start = at + FIRST.len();
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        text[start..start + digits].parse::<usize>().ok().map(|size| (size, start, start + digits))
    });
    let (size, start, end) = sizes.max_by_key(|(size, ..)| *size).filter(|(size, ..)| *size > SMALLEST)?;
    Some(format!("{}{}{}", &text[..start], (size / 2).max(SMALLEST), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_page_is_halved_down_to_ten() {
        let text = "query Q($first: Int) { a(first: 20) { b(first: 50) { c(first: $first) } } }";
        let halved = with_smaller_pages(text).unwrap();
        assert_eq!(halved, text.replace("50", "25"));
        let mut smallest = halved;
        while let Some(smaller) = with_smaller_pages(&smallest) {
            smallest = smaller;
        }
        assert_eq!(smallest, text.replace("20", "10").replace("50", "10"));
    }
}
