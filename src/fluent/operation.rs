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
    ORDER_TRANSACTIONS = "OrderTransactions", "orderById", "order_transactions.graphql";
    CREATE_FINANCIAL_TRANSACTION = "CreateFinancialTransaction", "createFinancialTransaction", "create_financial_transaction.graphql", write;
    ORDER_UPDATE_SOURCE = "OrderUpdateSource", "orderById", "order_update_source.graphql";
    ORDER_STATUSES = "OrderStatuses", "orders", "order_statuses.graphql";
    ORDERS_UPDATED = "OrdersUpdated", "orders", "orders_updated.graphql";
    LOCATIONS = "Locations", "locations", "locations.graphql";
    ALL_LOCATIONS = "AllLocations", "locations", "all_locations.graphql";
    LOCATION_BY_ID = "LocationById", "locationById", "location_by_id.graphql";
    VIRTUAL_POSITIONS_UPDATED = "VirtualPositionsUpdated", "virtualPositions", "virtual_positions_updated.graphql";
    ALL_VIRTUAL_POSITIONS = "AllVirtualPositions", "virtualPositions", "all_virtual_positions.graphql";
    VIRTUAL_POSITIONS_BY_REF = "VirtualPositionsByRef", "virtualPositions", "virtual_positions_by_ref.graphql";
    VIRTUAL_POSITION = "VirtualPosition", "virtualPosition", "virtual_position.graphql";
}
