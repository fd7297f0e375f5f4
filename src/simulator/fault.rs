//! Ways in which a platform may fail a request, and what they make of an answer.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

/// Ways in which a platform may fail a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// 429 before anything happens, without any hint when to come back.
    RateLimited,
    /// 429 before anything happens, with `Retry-After` in seconds.
    RetryAfter(u32),
    /// This 5xx before the platform looked at the request.
    ErrorBefore(u16),
    /// The platform did the work, then answered this 5xx.
    ErrorAfter(u16),
    /// The platform did the work, then the connection was cut without an answer.
    LostAnswer,
    /// The connection is cut before the platform looked at the request.
    Reset,
    /// 401 with the platform's body, as if the token had been revoked.
    Unauthorized,
    /// The platform did the work; status and headers come, then half the body, then the connection is cut.
    HalfBody,
    /// The platform did the work; the body trickles in over so many milliseconds of real time.
    Slow(u32),
    /// The platform did the work; nothing comes until the client gives up.
    Silent,
    /// The platform did the work; a body that is no JSON comes with its status.
    InvalidJson,
    /// GraphQL only: the platform did the work; 200 comes with `data: null` and an error.
    NullData,
    /// GraphQL only: of several fields the last is not executed, it is null with an error; the others are fine.
    FailedAlias,
    /// GraphQL only: the cursor that the request goes on from is refused.
    RefusedCursor,
}

/// Which requests a fault hits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub fault: Fault,
    /// Operation name (see [`Platform::operation`](super::front::Platform::operation)); `None` = any.
    #[serde(default)]
    pub operation: Option<String>,
    /// How often at most; `None` = no bound.
    #[serde(default)]
    pub times: Option<u32>,
    /// Share of the matching requests, 0–1.
    #[serde(default = "always")]
    pub rate: f64,
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// Does only a GraphQL platform have it?
    pub fn is_graphql(self) -> bool {
        matches!(self, Self::NullData | Self::FailedAlias | Self::RefusedCursor)
    }

    /// What the network makes of an answer that the platform gave.
    pub(super) fn spoil(self, mut answer: Response<Body>, body: Bytes) -> Response<Body> {
        let whole = body.len();
        let pieces = match self {
            Self::HalfBody => vec![(Duration::ZERO, Ok(body.slice(..whole / 2))), (SOON, Err(Broken))],
            Self::Slow(millis) => trickle(&body, Duration::from_millis(millis.into())),
            Self::InvalidJson => {
                *answer.body_mut() = Body::from(NO_JSON);
                answer.headers_mut().remove(header::CONTENT_LENGTH);
                return answer;
            }
            _ => {
                *answer.body_mut() = Body::from(body);
                return answer;
            }
        };
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
        *answer.body_mut() = Body::from_stream(stream::iter(pieces).then(|(pause, piece)| async move {
            #[expect(clippy::disallowed_methods, reason = "slowness of a network is real time, also in a story")]
            tokio::time::sleep(pause).await;
            piece
        }));
        answer
    }
}

/// What a gateway in between says.
const NO_JSON: &str = "<html><body><h1>The service is being updated</h1></body></html>";
/// Long enough for what was written to be sent.
const SOON: Duration = Duration::from_millis(2);
/// Into how many pieces a slow body falls.
const PIECES: u32 = 8;

type Piece = (Duration, Result<Bytes, Broken>);

fn trickle(body: &Bytes, over: Duration) -> Vec<Piece> {
    let size = body.len().div_ceil(PIECES as usize).max(1);
    let piece = |at: usize| (over / PIECES, Ok(body.slice(at..(at + size).min(body.len()))));
    // A body of few bytes is as slow as any other.
    let missing = PIECES.saturating_sub(body.len().div_ceil(size) as u32);
    let wait = (over / PIECES * missing, Ok(Bytes::new()));
    std::iter::once(wait).chain((0..body.len()).step_by(size).map(piece)).collect()
}

/// The connection is cut in the middle of the body: hyper closes it when the body fails.
#[derive(Debug, thiserror::Error)]
#[error("the simulated network cut this answer")]
struct Broken;
