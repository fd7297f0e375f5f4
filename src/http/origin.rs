//! Who really asks, where a proxy stands in front (`server.trusted_proxies`): `Forwarded` (RFC 7239)
//! or `X-Forwarded-For`, believed as far as trusted proxies wrote it.

use std::net::IpAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use super::Surface;
use super::auth::Peer;
use crate::config::value::Network;

/// Replaces a trusted proxy by whom it speaks for.
pub async fn believed(State(surface): State<Surface>, mut request: Request, next: Next) -> Response {
    let trusted = &surface.queue().app.config().server.trusted_proxies;
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0);
    if let Some(Peer(Some(address))) = peer
        && let Some(origin) = origin(address, request.headers(), trusted)
    {
        request.extensions_mut().insert(ConnectInfo(Peer(Some(origin))));
    }
    next.run(request).await
}

/// The nearest address that is no trusted proxy. What lies behind an unreadable one is nobody's word.
fn origin(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
    let mut nearest = peer;
    for claimed in claims(headers).into_iter().rev() {
        if !is_trusted(&nearest) {
            break;
        }
        let Some(address) = claimed else { break };
        nearest = address;
    }
    (nearest != peer).then_some(nearest)
}

/// Every address that the headers claim, the farthest first; `None` = an unreadable one.
fn claims(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let forwarded = all("forwarded");
    if !forwarded.is_empty() {
        let of = |element: &String| {
            let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            named.next().and_then(|(_, value)| address(value.trim()))
        };
        return forwarded.iter().map(of).collect();
    }
    all("x-forwarded-for").iter().map(|claimed| address(claimed)).collect()
}

/// `192.0.2.1`, `192.0.2.1:4711`, `"[2001:db8::1]:4711"`
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if text.matches(':').count() == 1 => text.split(':').next().unwrap_or_default(),
        None => text,
    };
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn told(peer: &str, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let trusted = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        origin(peer.parse().unwrap(), &map, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        const FOR: &str = "x-forwarded-for";
        for (peer, headers, believed) in [
            ("127.0.0.1", vec![(FOR, "192.0.2.7")], Some("192.0.2.7")),
            ("192.0.2.1", vec![(FOR, "192.0.2.7")], None),
            ("127.0.0.1", vec![], None),
            // The first one is what a stranger wrote.
            ("127.0.0.1", vec![(FOR, "198.51.100.1, 192.0.2.7, 10.1.2.3")], Some("192.0.2.7")),
            ("127.0.0.1", vec![(FOR, "198.51.100.1"), (FOR, "192.0.2.7")], Some("192.0.2.7")),
            ("127.0.0.1", vec![(FOR, "10.1.2.3")], Some("10.1.2.3")),
            ("127.0.0.1", vec![(FOR, "192.0.2.7:4711")], Some("192.0.2.7")),
            ("127.0.0.1", vec![(FOR, "192.0.2.7, unknown")], None),
            ("fd00::1", vec![("forwarded", "for=192.0.2.7;proto=https, for=\"[fd00::2]:80\"")], Some("192.0.2.7")),
            ("127.0.0.1", vec![("forwarded", "For=\"[2001:db8::1]:4711\"")], Some("2001:db8::1")),
            ("127.0.0.1", vec![("forwarded", "for=192.0.2.7"), (FOR, "198.51.100.1")], Some("192.0.2.7")),
            ("127.0.0.1", vec![("forwarded", "proto=https")], None),
        ] {
            assert_eq!(told(peer, &headers).as_deref(), believed, "{peer} {headers:?}");
        }
    }
}
