//! Stories of sources: what wins, what is refused, and how it is told.

use tempfile::TempDir;

use super::*;
use crate::config::value::{Rate, Secret, Span};

/// Files in a directory of their own, and variables.
struct World {
    dir: TempDir,
    sources: Sources,
}

const CONNECTION: &str = r#"
  - name: main
    commercetools: { project_key: p, client_id: c, client_secret: { env: CT } }
    fluent:
      account: ACME
      retailer_id: 5
      username: u
      password: { env: PASSWORD }
      client_secret: { env: FLUENT }
      product_catalogue: { ref: "PC:MASTER:5" }
"#;

impl World {
    fn of(text: &str) -> Self {
        let world = Self { dir: TempDir::new().unwrap(), sources: Sources::default() };
        world.file("config.yml", text)
    }

    fn connected(rest: &str) -> Self {
        Self::of(&format!("connections:{CONNECTION}{rest}"))
    }

    fn file(mut self, name: &str, text: &str) -> Self {
        self = self.unnamed_file(name, text);
        self.sources.files.push(self.dir.path().join(name));
        self
    }

    /// A file that only a profile finds.
    fn unnamed_file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn profile(mut self, name: &str) -> Self {
        self.sources.profile = Some(name.to_owned());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.insert(format!("FLUENT_CONNECTOR__{name}"), value.to_owned());
        self
    }

    fn load(&self) -> Loaded {
        load(&self.sources).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// All problems, without the directory.
    fn problems(&self) -> String {
        let problems = load(&self.sources).expect_err("there is nothing wrong");
        problems.to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }

    fn origin(&self, path: &str) -> String {
        self.load().origin(path).to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn without_any_source_there_are_the_defaults_and_no_connection() {
    let loaded = load(&Sources::default()).unwrap();
    assert!(loaded.config.connections.is_empty());
    assert_eq!(loaded.config.server.listen, "127.0.0.1:8080");
    assert_eq!(loaded.config.server.limits.per_ip_unauthenticated, Rate(0.5));
    assert_eq!(loaded.config.queue.retry.delays.len(), 6);
    assert_eq!(loaded.origin("server.listen"), &Origin::Default);
}

#[test]
fn the_template_lies_under_every_connection() {
    let loaded = World::connected("").load();
    let connection = &loaded.config.connections[0];
    assert_eq!(connection.order.states, ["Open", "Confirmed"]);
    assert_eq!(connection.fluent.client_id, "ACME", "the client is called like the account");
    assert_eq!(connection.commercetools.api_url(), "https://api.europe-west1.gcp.commercetools.com");
    assert_eq!(connection.commercetools.auth_url(), "https://auth.europe-west1.gcp.commercetools.com");
    assert_eq!(connection.fluent.base_url(), "https://acme.sandbox.api.fluentretail.com");
}

#[test]
fn production_and_given_urls_change_where_a_remote_is() {
    let world = World::connected("")
        .variable("CONNECTIONS__MAIN__FLUENT__ENVIRONMENT", "production")
        .variable("CONNECTIONS__MAIN__COMMERCETOOLS__API_URL", "http://127.0.0.1:9000/");
    let connection = &world.load().config.connections[0];
    assert_eq!(connection.fluent.base_url(), "https://acme.api.fluentretail.com");
    assert_eq!(connection.commercetools.api_url(), "http://127.0.0.1:9000");
}

#[test]
fn a_connection_must_say_who_it_is() {
    insta::assert_snapshot!(World::of("connections:\n  - name: main\n").problems(), @r#"
    config.yml:2:5 connections[main].commercetools.project_key: is missing and has no default
    config.yml:2:5 connections[main].commercetools.client_id: is missing and has no default
    config.yml:2:5 connections[main].commercetools.client_secret: is missing and has no default
    config.yml:2:5 connections[main].fluent.product_catalogue.ref: is missing and has no default
    config.yml:2:5 connections[main].fluent.account: is missing and has no default
    config.yml:2:5 connections[main].fluent.retailer_id: is missing and has no default
    config.yml:2:5 connections[main].fluent.username: is missing and has no default
    config.yml:2:5 connections[main].fluent.password: is missing and has no default
    config.yml:2:5 connections[main].fluent.client_secret: is missing and has no default
    "#);
}

#[test]
fn later_files_win_and_lists_with_names_merge_by_name() {
    let world = World::connected("server: { listen: \"127.0.0.1:1\", public_url: \"https://a.example\" }\n").file(
        "more.yml",
        "server: { listen: \"127.0.0.1:2\" }\nconnections:\n  - name: main\n    stores: [a, b]\n    enabled: false\n",
    );
    let config = world.load().config;
    assert_eq!(
        (config.server.listen.as_str(), config.server.public_url.as_deref()),
        ("127.0.0.1:2", Some("https://a.example"))
    );
    let connection = &config.connections[0];
    assert_eq!((config.connections.len(), connection.enabled, connection.fluent.retailer_id), (1, false, 5));
    assert_eq!(connection.stores, ["a", "b"]);
}

#[test]
fn lists_without_names_replace() {
    let config = World::of("queue: { retry: { delays: [1s] } }\n").load().config;
    assert_eq!(config.queue.retry.delays, ["1s".parse::<Span>().unwrap()]);
}

#[test]
fn a_secret_in_another_form_replaces_the_first() {
    let world = World::connected("")
        .file("more.yml", "connections: [{ name: main, commercetools: { client_secret: { file: /run/secret } } }]\n");
    let secret = &world.load().config.connections[0].commercetools.client_secret;
    assert_eq!(secret, &Secret::File { file: "/run/secret".into() });
}

#[test]
fn null_resets_to_the_default() {
    let world = World::of(
        "server: { listen: \"127.0.0.1:1\" }\nqueue: { workers: 4, lanes: { ours: { reserved: 0, weight: 1 } } }\n",
    )
    .file("more.yml", "server: { listen: null }\nqueue: { workers: ~, lanes: { order: null, ours: null } }\n");
    let config = world.load().config;
    assert_eq!((config.server.listen.as_str(), config.queue.workers), ("127.0.0.1:8080", 16));
    assert_eq!(
        config.queue.lanes.keys().collect::<Vec<_>>(),
        ["backfill", "bulk", "catalogue", "channel", "order", "status", "stock", "stock-urgent"]
    );
}

#[test]
fn null_in_a_table_is_a_value() {
    let world = World::connected(
        "    order_status: { shipment: { by_type: { CC: { COMPLETE: null } } }, order: { mapping: { CREATED: ~ } } }\n    custom_types: { order: { fields: { order_ref: null } } }\n",
    );
    let connection = &world.load().config.connections[0];
    assert_eq!(connection.order_status.shipment.by_type["CC"]["COMPLETE"], None);
    assert_eq!(connection.order_status.order.mapping["CREATED"], None);
    assert_eq!(connection.custom_types.order.fields["order_ref"], None);
    assert_eq!(connection.custom_types.order.fields["order_id"].as_deref(), Some("flOrderId"));
}

#[test]
fn a_profile_lies_over_all_files() {
    let world = World::of("log: { level: warn }\nqueue: { workers: 3 }\n")
        .file("b.yml", "queue: { workers: 4 }\n")
        .unnamed_file("config-test.yml", "queue: { workers: 5 }\n")
        .profile("test");
    let config = world.load().config;
    assert_eq!((config.queue.workers, config.log.level.as_str()), (5, "warn"));
}

#[test]
fn a_profile_without_a_file_is_an_error() {
    let world = World::of("").profile("test");
    insta::assert_snapshot!(world.problems(), @r#"profile test: none of its files exists: config-test.yml"#);
}

#[test]
fn a_named_file_must_exist() {
    let mut world = World::of("");
    world.sources.files.push(world.dir.path().join("absent.yml"));
    assert!(world.problems().starts_with("absent.yml: cannot be read:"), "{}", world.problems());
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_refused() {
    let text = format!("log: {{ level: info }}\n# {}\n", "x".repeat(1024 * 1024));
    assert_eq!(World::of(&text).problems(), "config.yml: is larger than 1 MiB");
}

#[test]
fn variables_win_over_files_and_find_names_in_capitals() {
    let world = World::connected("queue: { lanes: { stock-urgent: { reserved: 1, weight: 4 } } }\n")
        .variable("CONNECTIONS__MAIN__FLUENT__RETAILER_ID", "67")
        .variable("CONNECTIONS__MAIN__FLUENT__PRODUCT_CATALOGUE__REF", "PC:MASTER:67")
        .variable("CONNECTIONS__MAIN__FLUENT__PASSWORD__FILE", "/run/p")
        .variable("CONNECTIONS__MAIN__STORES", "[a, b]")
        .variable("CONNECTIONS__MAIN__ORDER_STATUS__ORDER__MAPPING", "{PACKED: Confirmed}")
        .variable("QUEUE__LANES__STOCK_URGENT__WEIGHT", "9")
        .variable("QUEUE__RETRY__GIVE_UP", "2h");
    let config = world.load().config;
    let connection = &config.connections[0];
    assert_eq!((connection.fluent.retailer_id, config.queue.lanes["stock-urgent"].weight), (67, 9));
    assert_eq!(connection.fluent.product_catalogue.reference, "PC:MASTER:67");
    assert_eq!(connection.fluent.password, Secret::File { file: "/run/p".into() });
    assert_eq!(connection.stores, ["a", "b"]);
    assert_eq!(connection.order_status.order.mapping["PACKED"].as_deref(), Some("Confirmed"));
    assert_eq!(config.queue.retry.give_up.millis(), 7_200_000);
}

#[test]
fn variables_find_the_keys_of_the_template() {
    let world = World::connected("    order_status: { shipment: { by_type: { CC: { COMPLETE: Delivered } } } }\n")
        .variable("CONNECTIONS__MAIN__CUSTOM_TYPES__ORDER__FIELDS__ORDER_REF", "null")
        .variable("CONNECTIONS__MAIN__ORDER_STATUS__SHIPMENT__BY_TYPE__CC__COMPLETE", "Shipped");
    let connection = &world.load().config.connections[0];
    assert_eq!(connection.custom_types.order.fields["order_ref"], None);
    assert_eq!(connection.order_status.shipment.by_type["CC"]["COMPLETE"].as_deref(), Some("Shipped"));
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let environment = |name: &str| match name {
        "FLUENT_CONNECTOR_CONFIG" => Some("/a.yml:/b.yml".into()),
        "FLUENT_CONNECTOR_PROFILE" => Some("test".into()),
        _ => None,
    };
    let of_environment = Sources::named_by(Vec::new(), None, &environment);
    assert_eq!(of_environment.files, ["/a.yml", "/b.yml"].map(PathBuf::from));
    assert_eq!(of_environment.profile.as_deref(), Some("test"));
    let of_command_line = Sources::named_by(vec!["c.yml".into()], Some("live".to_owned()), &environment);
    assert_eq!(of_command_line.files, [PathBuf::from("c.yml")]);
    assert_eq!(of_command_line.profile.as_deref(), Some("live"));
}

#[test]
fn variables_alone_make_a_connection() {
    let text = "{commercetools: {project_key: p, client_id: c, client_secret: {env: A}}, fluent: {account: ACME, \
                retailer_id: 5, username: u, password: {env: B}, client_secret: {env: C}, product_catalogue: {ref: PC}}}";
    let mut world = World::of("").variable("CONNECTIONS__ACME_EU", text);
    world.sources.files.clear();
    assert_eq!(world.load().config.connections[0].name, "acme-eu");
}

#[test]
fn errors_of_variables_name_the_variable() {
    let world =
        World::connected("queue: { lanes: { a-b: { reserved: 0, weight: 1 }, a_b: { reserved: 0, weight: 1 } } }\n")
            .variable("SERVER__LISTN", "x")
            .variable("SERVER__LISTEN__PORT", "80")
            .variable("SERVER__SHUTDOWN__DRAIN", "20")
            .variable("CONNECTIONS__MAIN__FLUENT__USERNAME", "12345")
            .variable("CONNECTIONS__MAIN__ENABLED", "yes")
            .variable("CONNECTIONS__MAIN__ORDER__ATTRIBUTES__0__TO", "x")
            .variable("QUEUE__LANES__A_B__WEIGHT", "2")
            .variable("QUEUE__LANES__NEW__WEIGHT", "2")
            .variable("QUEUE__WORKERS", "{a: 1")
            .variable("LOG__LEVEL", "a: b");
    insta::assert_snapshot!(world.problems(), @r#"
    FLUENT_CONNECTOR__CONNECTIONS__MAIN__ENABLED connections[main].enabled: "yes" is plain text in YAML 1.2; write true
    FLUENT_CONNECTOR__CONNECTIONS__MAIN__FLUENT__USERNAME connections[main].fluent.username: the number 12345 is not text; write it in quotes
    FLUENT_CONNECTOR__CONNECTIONS__MAIN__ORDER__ATTRIBUTES__0__TO connections[main].order.attributes.0: a list is set as a whole: [a, b]
    FLUENT_CONNECTOR__LOG__LEVEL log.level: a variable holds one value: text, a number, [a, b] or {a: b}; quote it
    FLUENT_CONNECTOR__QUEUE__LANES__A_B__WEIGHT queue.lanes.a_b: could be "a-b" or "a_b"
    FLUENT_CONNECTOR__QUEUE__LANES__NEW__WEIGHT queue.lanes.new: no source has this key yet; set the map: FLUENT_CONNECTOR__QUEUE__LANES='{key: value}'
    FLUENT_CONNECTOR__QUEUE__WORKERS queue.workers: not readable as YAML: unclosed bracket '{'
    FLUENT_CONNECTOR__SERVER__LISTEN__PORT server.listen.port: unknown key; nothing is below this value
    FLUENT_CONNECTOR__SERVER__LISTN server.listn: unknown key; did you mean "LISTEN"?
    FLUENT_CONNECTOR__SERVER__SHUTDOWN__DRAIN server.shutdown.drain: 20 has no unit; write a duration with a unit, such as 250ms, 15s, 5m, 2h or 30d
    "#);
}

#[test]
fn names_that_no_variable_can_tell_apart_are_refused() {
    let other = CONNECTION.replace("name: main", "name: MAIN");
    insta::assert_snapshot!(World::connected(&other[1..]).problems(), @r#"config.yml:11:5 connections[MAIN]: environment variables cannot tell the names "MAIN" and "main" apart"#);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let world = World::of(
        r#"server:
  listn: "127.0.0.1:8080"
  limits:
    body: 1024
    request_timeout: 10 seconds
  drain: 5s
database:
  pool: 0
  migrate: automatic
  pool: 3
  group_commit: { rows: 1.5 }
connections:
  - name: main
    enabled: yes
    commercetools:
      project_key: 4711
      client_id: c
      client_secret: { env: CT, file: /x }
    fluent:
      account: ACME
      retailer: 67
      username: u
      password: { env: PASSWORD, keep: 5m }
      client_secret: [hunter2]
      product_catalogue: { ref: "PC:MASTER:5" }
      webhook: { signature: none }
    order:
      attributes:
        - { from: custom.fields.a, typ: STRING }
      total_check: off
  - name: main
    stores: store-1
  - enabled: true
queue:
  retry: { jitter: 120% }
  workers: many
log: !verbose
  level: info
"#,
    );
    insta::assert_snapshot!(world.problems(), @r#"
    config.yml:2:3 server.listn: unknown key; did you mean "listen"?
    config.yml:4:11 server.limits.body: 1024 has no unit; write a size with a unit, such as 512B, 64KiB, 1MiB or 2GiB
    config.yml:5:22 server.limits.request_timeout: "10 seconds" is not a duration; write it with a unit: 250ms, 15s, 5m, 2h or 30d
    config.yml:6:3 server.drain: unknown key; did you mean "server.shutdown.drain"?
    config.yml:8:9 database.pool: must be at least 1, not 0
    config.yml:9:12 database.migrate: must be one of auto, manual, not the text "automatic"
    config.yml:10:3 database.pool: duplicate key; it stands at config.yml:8:3 already
    config.yml:11:25 database.group_commit.rows: must be a whole number, not 1.5
    config.yml:14:14 connections[main].enabled: "yes" is plain text in YAML 1.2; write true
    config.yml:16:20 connections[main].commercetools.project_key: the number 4711 is not text; write it in quotes
    config.yml:18:22 connections[main].commercetools.client_secret: a secret takes exactly one of credential, file, env and command
    config.yml:21:7 connections[main].fluent.retailer: unknown key; did you mean "retailer_id"?
    config.yml:23:34 connections[main].fluent.password.keep: unknown key in a secret by env
    config.yml:24:22 connections[main].fluent.client_secret: must be a secret: { credential: … }, { file: … }, { env: … } or { command: […] }
    config.yml:26:29 connections[main].fluent.webhook.signature: must be one of sha512, sha512-or-md5, off, not the text "none"
    config.yml:29:11 connections[main].order.attributes[0].to: is missing and has no default
    config.yml:29:36 connections[main].order.attributes[0].typ: unknown key; did you mean "type"?
    config.yml:31:5 connections[main]: duplicate name "main"
    config.yml:32:13 connections[main].stores: must be a list, not the text "store-1"
    config.yml:33:5 connections[2]: has no name
    config.yml:35:20 queue.retry.jitter: "120%" is not a share; write it in percent: 40%
    config.yml:36:12 queue.workers: must be a whole number, not the text "many"
    config.yml:37:6 log: custom tags are not allowed: !verbose
    "#);
}

#[test]
fn a_file_that_is_not_yaml_is_told_with_its_place() {
    insta::assert_snapshot!(World::of("server:\n  listen: \"127.0.0.1:1\n").problems(), @r#"config.yml:2:11: not readable as YAML: unclosed quote"#);
    insta::assert_snapshot!(World::of("- server\n").problems(), @"config.yml:1:1: must be a map, not a list");
}

#[test]
fn a_value_of_the_wrong_kind_is_one_mistake() {
    let world = World::connected("    order: { attributes: [5] }\nserver: 5\nqueue: []\nroutes: ~\n");
    insta::assert_snapshot!(world.problems(), @r#"
    config.yml:11:27 connections[main].order.attributes[0]: must be a map, not the number 5
    config.yml:12:9 server: must be a map, not the number 5
    config.yml:13:8 queue: must be a map, not a list
    "#);
}

#[test]
fn the_origin_of_every_value_is_known() {
    let world = World::connected("server:\n  listen: \"127.0.0.1:1\"\n").variable("QUEUE__WORKERS", "3");
    assert_eq!(world.origin("server.listen"), "config.yml:12:11");
    assert_eq!(world.origin("connections[main].fluent.account"), "config.yml:5:16");
    assert_eq!(world.origin("queue.workers"), "FLUENT_CONNECTOR__QUEUE__WORKERS");
    assert_eq!(world.origin("connections[main].order.states"), "default");
}

#[test]
fn settings_show_every_value_but_no_secret() {
    let world = World::connected("database: { password: hunter2 }\n");
    let settings = world.load().settings().unwrap();
    let of = |path: &str| settings.iter().find(|setting| setting.path == path).map(|setting| setting.value.to_string());
    assert_eq!(of("database.password").as_deref(), Some("\"(secret)\""));
    assert_eq!(of("connections[main].fluent.password").as_deref(), Some("\"(secret: env PASSWORD)\""));
    assert_eq!(of("queue.retry.jitter").as_deref(), Some("\"20%\""));
    assert_eq!(of("queue.lanes.order.weight").as_deref(), Some("8"));
    assert!(!settings.iter().any(|setting| setting.value.to_string().contains("hunter2")));
}
