//! Which handler serves which route (`surfaces.md` 11.1).
//!
//! A wrong registration stops the start: a name taken twice, a replacement of nothing, two
//! replacements of one route. There are no priorities; "mine instead" is [`Routes::replace`].

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Message;
use crate::app::App;
use crate::config::Config;
use crate::config::model::Connection;
use crate::config::timing::Timing;
use crate::config::value::Span;
use crate::failure::Outcome;

/// What the Java connector calls its jobs, and which of ours they are.
const ALIASES: &[(&str, &[&str])] = &[
    ("batch-product-catalogue-sync", &["job.category-sync", "job.product-sync"]),
    ("batch-inventory-sync", &["job.inventory-sync"]),
    ("batch-location-sync", &["job.location-sync"]),
    ("event-failure-summary-monitor", &["job.event-failure-summary"]),
];

/// A handler: `async fn(App, Message) -> Outcome`.
pub type Handler = Arc<dyn Fn(App, Message) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `source.noun-past`: something may have changed.
    Inbox,
    /// `target.verb-noun`: make sure the target has it.
    Outbox,
    /// `job.noun-sync`: look for what nobody told us.
    Job,
}

/// One registered route.
pub struct Route {
    pub name: String,
    pub kind: Kind,
    /// Lane of its messages, unless configured otherwise.
    pub lane: &'static str,
    /// While such a message waits or retries, later messages of its subject wait behind it.
    pub blocks: bool,
    /// How long a message may wait for a dependency before it is parked.
    pub wait_limit: Option<fn(&Connection) -> Span>,
    /// When a job of a flow runs for a connection; `None` = its flow is off.
    pub timed: Option<fn(&Connection) -> Option<Timing>>,
    pub handler: Handler,
    /// Where it was registered, and where replaced.
    pub registered: &'static Location<'static>,
    pub replaced: Option<&'static Location<'static>>,
}

/// All routes.
#[derive(Default)]
pub struct Routes {
    routes: BTreeMap<String, Route>,
}

impl Routes {
    /// Registers the handler of an inbox route.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn inbox<F, A>(&mut self, name: &str, handler: F) -> &mut Route
    where
        F: Fn(App, Message) -> A + Send + Sync + 'static,
        A: Future<Output = Outcome> + Send + 'static,
    {
        self.register(name, Kind::Inbox, "catalogue", boxed(handler))
    }

    /// Registers the handler of an outbox route.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn outbox<F, A>(&mut self, name: &str, handler: F) -> &mut Route
    where
        F: Fn(App, Message) -> A + Send + Sync + 'static,
        A: Future<Output = Outcome> + Send + 'static,
    {
        self.register(name, Kind::Outbox, "catalogue", boxed(handler))
    }

    /// Registers a job. It runs for each connection as `schedule.jobs` says, else as its flow says
    /// ([`Route::timed`]), else by hand only.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn job<F, A>(&mut self, name: &str, handler: F) -> &mut Route
    where
        F: Fn(App, Message) -> A + Send + Sync + 'static,
        A: Future<Output = Outcome> + Send + 'static,
    {
        self.register(name, Kind::Job, "bulk", boxed(handler))
    }

    /// Puts another handler in the place of a registered one; lane and policies stay.
    ///
    /// # Panics
    /// If there is no such route, or it was replaced already.
    #[track_caller]
    pub fn replace<F, A>(&mut self, name: &str, handler: F)
    where
        F: Fn(App, Message) -> A + Send + Sync + 'static,
        A: Future<Output = Outcome> + Send + 'static,
    {
        let here = Location::caller();
        let Some(route) = self.routes.get_mut(name) else {
            panic!("{here} replaces the route {name}, which is not registered; registered are: {}", self.names());
        };
        if let Some(before) = route.replaced {
            panic!("the route {name} is replaced twice: at {before} and at {here}");
        }
        route.replaced = Some(here);
        route.handler = boxed(handler);
    }

    /// A route by name.
    pub fn find(&self, name: &str) -> Option<&Route> {
        self.routes.get(name)
    }

    /// The jobs that a person means by `name`: with or without `job.`, or as the Java connector calls
    /// them (`surfaces.md` 1.5), where one name may mean two.
    pub fn jobs_named(&self, name: &str) -> Vec<&Route> {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, jobs)| *jobs);
        let full = if name.starts_with("job.") { name.to_owned() } else { format!("job.{name}") };
        let names = alias.map_or_else(|| vec![full.as_str()], <[&str]>::to_vec);
        names.into_iter().filter_map(|name| self.find(name)).filter(|route| route.kind == Kind::Job).collect()
    }

    /// All routes, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    /// The lane of a route's messages: configured, else its own.
    pub fn lane<'a>(&'a self, name: &str, config: &'a Config) -> &'a str {
        let configured = config.routes.get(name).and_then(|route| route.lane.as_deref());
        configured.unwrap_or_else(|| self.find(name).map_or("bulk", |route| route.lane))
    }

    #[track_caller]
    fn register(&mut self, name: &str, kind: Kind, lane: &'static str, handler: Handler) -> &mut Route {
        let here = Location::caller();
        if let Some(taken) = self.routes.get(name) {
            panic!("the route {name} is registered twice: at {} and at {here}; use `replace`", taken.registered);
        }
        self.routes.entry(name.to_owned()).or_insert(Route {
            name: name.to_owned(),
            kind,
            lane,
            blocks: false,
            wait_limit: None,
            timed: None,
            handler,
            registered: here,
            replaced: None,
        })
    }

    fn names(&self) -> String {
        self.routes.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Route {
    /// Its messages go into this lane.
    pub fn lane(&mut self, lane: &'static str) -> &mut Self {
        self.lane = lane;
        self
    }

    /// Later messages of the same subject wait while one of these waits or retries.
    pub fn blocks(&mut self) -> &mut Self {
        self.blocks = true;
        self
    }

    /// When this job runs for a connection; `None` = its flow is off, and nothing else turns it on.
    pub fn timed(&mut self, timed: fn(&Connection) -> Option<Timing>) -> &mut Self {
        self.timed = Some(timed);
        self
    }

    /// When this job runs for a connection, all things considered; `None` = by hand only.
    ///
    /// # Errors
    /// What is wrong with its entry in `schedule.jobs`; `config check` tells the same.
    pub fn timing(&self, connection: &Connection, config: &Config) -> Result<Option<Timing>, String> {
        let of_flow = match self.timed {
            Some(timed) => match timed(connection) {
                Some(timing) => Some(timing),
                None => return Ok(None),
            },
            None => None,
        };
        let schedule = &config.schedule;
        match schedule.jobs.get(&self.name) {
            Some(own) => Timing::configured(own, &schedule.time_zone).map(Some),
            None => Ok(of_flow),
        }
    }

    /// Parks a message that waited longer than this.
    pub fn wait_limit(&mut self, limit: fn(&Connection) -> Span) -> &mut Self {
        self.wait_limit = Some(limit);
        self
    }
}

fn boxed<F, A>(handler: F) -> Handler
where
    F: Fn(App, Message) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(move |app, message| Box::pin(handler(app, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing(_: App, _: Message) -> Outcome {
        Ok(())
    }

    fn refused(register: impl FnOnce(&mut Routes) + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(|| {
            let mut routes = Routes::default();
            routes.inbox("commercetools.order-created", nothing);
            register(&mut routes);
        });
        *panic.unwrap_err().downcast::<String>().unwrap()
    }

    #[test]
    fn a_wrong_registration_stops_the_start_and_names_both_places() {
        let twice = refused(|routes| {
            routes.outbox("commercetools.order-created", nothing);
        });
        assert!(twice.contains("registered twice") && twice.matches("routes.rs").count() == 2, "{twice}");
        let absent = refused(|routes| routes.replace("fluent.create-ordr", nothing));
        assert!(absent.contains("not registered") && absent.contains("commercetools.order-created"), "{absent}");
        let again = refused(|routes| {
            routes.replace("commercetools.order-created", nothing);
            routes.replace("commercetools.order-created", nothing);
        });
        assert!(again.contains("replaced twice"), "{again}");
    }

    #[test]
    fn a_job_has_a_long_name_a_short_one_and_the_vendors() {
        let mut routes = Routes::default();
        routes.job("job.inventory-sync", nothing);
        routes.job("job.product-sync", nothing);
        routes.inbox("job-like.inventory-sync", nothing);
        let named = |name: &str| -> Vec<String> {
            routes.jobs_named(name).into_iter().map(|route| route.name.clone()).collect()
        };
        for name in ["job.inventory-sync", "inventory-sync", "batch-inventory-sync"] {
            assert_eq!(named(name), ["job.inventory-sync"], "{name}");
        }
        assert_eq!(named("batch-product-catalogue-sync"), ["job.product-sync"], "as far as its jobs exist");
        for name in ["batch-location-sync", "job-like.inventory-sync", "sync", ""] {
            assert!(named(name).is_empty(), "{name}");
        }
    }
}
