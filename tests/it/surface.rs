//! An HTTP surface on a store of its own: two connections whose platforms nobody asks, no worker. On
//! SQLite, or on the Postgres that FLUENT_CONNECTOR_TEST_POSTGRES names.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use fluent_connector::app::App;
use fluent_connector::clock::{Clock, Millis};
use fluent_connector::config::{Sources, load};
use fluent_connector::http::{Access, Closing, Peer, Surface};
use fluent_connector::queue::{Draft, Queue, Routes};
use fluent_connector::simulator::commercetools::Commercetools;
use fluent_connector::store::token::Wanted;
use fluent_connector::store::{Counted, Mapping, Options, Position, Put, Source, Store, Token, Urgency};
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::Connection;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tower::ServiceExt;
use uuid::Uuid;

/// The surface and what stands behind it.
pub struct Desk {
    pub queue: Queue,
    pub folder: TempDir,
    surface: Surface,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Desk {
    pub async fn open() -> Self {
        Self::open_beside(None).await
    }

    /// With a commercetools for connection `main`: project `main`, client `c`.
    pub async fn open_beside(commercetools: Option<&Commercetools>) -> Self {
        let folder = TempDir::new().unwrap();
        let file = configuration(&folder);
        let mut config = load(&Sources { files: vec![file], ..Sources::default() }).unwrap().config;
        if let Some(commercetools) = commercetools {
            let remote = &mut config.connections[0].commercetools;
            (remote.api_url, remote.auth_url) = (Some(commercetools.url()), Some(commercetools.url()));
        }
        if let Some(url) = postgres().await {
            config.database.url = url;
            config.database.pool = 4;
        }
        let clock = Clock::system();
        let store = Store::open(Options::of(&config.database).await.unwrap(), clock.clone()).await.unwrap();
        let mut routes = Routes::default();
        fluent_connector::standard(&mut routes);
        let queue = Queue { app: App::new(config, store, clock).unwrap(), routes: Arc::new(routes) };
        let surface = Surface::new(queue.clone(), Closing::default()).unwrap();
        Self { queue, folder, surface }
    }

    pub fn now(&self) -> Millis {
        self.queue.app.clock().now()
    }

    pub fn store(&self) -> &Store {
        self.queue.app.store()
    }

    /// Makes the admin socket and answers there until the process ends.
    pub fn listen(&self) -> PathBuf {
        let path = self.folder.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let service = self.surface.router(Access::Admin).into_make_service_with_connect_info::<Peer>();
        #[expect(clippy::disallowed_methods, reason = "the server of this test lives as long as the test")]
        tokio::spawn(axum::serve(listener, service).into_future());
        path
    }

    /// A message; `adapt` says how it differs from an ordinary one.
    pub async fn message(&self, connection: &str, adapt: impl FnOnce(Draft) -> Draft) -> Uuid {
        let draft = self.queue.draft(connection, "fluent.create-order", Uuid::now_v7().to_string(), Source::Plain);
        match self.queue.put(vec![adapt(draft)]).await.unwrap()[..] {
            [Put::Accepted(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    /// A stream that was read up to `end`.
    pub async fn cursor(&self, connection: &'static str, stream: &'static str, end: Millis) {
        let write = self.store().write(Urgency::Bulk, move |tx| {
            let end = Position::Done { end, since: end };
            async move { tx.advance(connection, stream, None, &end, Counted::default()).await }.boxed()
        });
        assert!(write.await.unwrap());
    }

    pub async fn mappings(&self, pairs: Vec<Mapping>) {
        self.store()
            .write(Urgency::Bulk, move |tx| {
                async move {
                    for pair in &pairs {
                        tx.put_mapping(pair).await?;
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
            .unwrap();
    }

    /// A token of a role for connection `main`, and its text.
    pub async fn token(&self, role: &str) -> (Token, String) {
        self.token_with(role, |token| token).await
    }

    pub async fn token_with(&self, role: &str, adapt: impl FnOnce(Token) -> Token) -> (Token, String) {
        let wanted = Wanted {
            name: format!("a {role}"),
            role: Some(role.into()),
            connections: vec!["main".into()],
            ..Wanted::default()
        };
        let (token, secret) = wanted.grant(&["main"], self.now()).unwrap().issue("test", self.now());
        let token = adapt(token);
        let stored = token.clone();
        self.store()
            .write(Urgency::Urgent, move |tx| async move { tx.put_token(&stored).await }.boxed())
            .await
            .unwrap();
        (token, secret.expose_secret().to_owned())
    }

    /// Asks over the network.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Reply {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            None => Body::empty(),
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        self.send(Access::Network, request.body(body).unwrap()).await
    }

    pub async fn send(&self, access: Access, request: Request<Body>) -> Reply {
        let response = self.surface.router(access).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Name of the problem, of a refusal.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        (self.status.as_u16(), kind.strip_prefix("urn:fluent-connector:problem:").unwrap().to_owned())
    }
}

/// A new database on the server that the environment names.
async fn postgres() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "scripts/test names the server to the tests, not to the connector")]
    let server = std::env::var("FLUENT_CONNECTOR_TEST_POSTGRES").ok()?;
    let name = format!("desk_{}", Uuid::now_v7().simple());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    let (server, options) = server.split_once('?').map_or((server.as_str(), ""), |(server, rest)| (server, rest));
    let (server, _) = server.rsplit_once('/').unwrap();
    Some(format!("{server}/{name}?{options}"))
}

/// Writes a configuration that needs nothing but its folder.
pub fn configuration(folder: &TempDir) -> PathBuf {
    let database = folder.path().join("connector.db");
    let socket = folder.path().join("nobody.sock");
    let connection = |name: &str, retailer: u32| {
        format!(
            "  - name: {name}
    commercetools: {{ project_key: {name}, api_url: \"http://127.0.0.1:9\", auth_url: \"http://127.0.0.1:9\", \
             client_id: c, client_secret: secret-of-commercetools }}
    fluent: {{ account: TEST, base_url: \"http://127.0.0.1:9\", retailer_id: {retailer}, username: u, \
             password: secret-of-fluent, client_secret: s, product_catalogue: {{ ref: \"PC:{retailer}\" }} }}
    order_link: {{ channel: link-{name} }}
"
        )
    };
    let text = format!(
        "server: {{ admin_socket: {:?} }}
database: {{ url: \"sqlite://{}\", disk_reserve: 0B }}
security: {{ allow_literal_secrets: true }}
connections:
{}{}",
        socket.display().to_string(),
        database.display(),
        connection("main", 1),
        connection("other", 2),
    );
    let file = folder.path().join("config.yml");
    std::fs::write(&file, text).unwrap();
    file
}
