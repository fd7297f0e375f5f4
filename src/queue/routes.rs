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
use crate::config::value::Span;
use crate::failure::Outcome;

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
    /// How often a job runs for a connection; `None` = not at all.
    pub every: Option<fn(&Connection) -> Option<Span>>,
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

    /// Registers a job that runs every so often for each connection.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn job<F, A>(&mut self, name: &str, every: fn(&Connection) -> Option<Span>, handler: F) -> &mut Route
    where
        F: Fn(App, Message) -> A + Send + Sync + 'static,
        A: Future<Output = Outcome> + Send + 'static,
    {
        let route = self.register(name, Kind::Job, "bulk", boxed(handler));
        route.every = Some(every);
        route
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
            every: None,
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
}
