//! Bodies on their way in. Only intake takes compressed ones, and what they inflate to is bounded
//! like any other body (`surfaces.md` 2.1).

use std::io::Read;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::read::MultiGzDecoder;

use super::answer::Problem;

/// What a peer sent.
pub enum Sent {
    Plain(Bytes),
    /// It says gzip but is none; here as it came.
    Broken(Bytes),
}

/// Inflates a gzip body of at most `most` bytes.
///
/// # Errors
/// 413 if it inflates to more, 415 for any other encoding.
pub fn inflated(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Sent, Problem> {
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or_default());
    match encoding.map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity") => return Ok(Sent::Plain(body)),
        Some("gzip" | "x-gzip") => {}
        Some(_) => return Err(Problem::unsupported_media_type("A body may be compressed with gzip only.")),
    }
    let mut plain = Vec::new();
    // One byte more than allowed tells that there is too much, without inflating the rest.
    match MultiGzDecoder::new(&body[..]).take(most as u64 + 1).read_to_end(&mut plain) {
        Err(_) => Ok(Sent::Broken(body)),
        Ok(size) if size > most => Err(Problem::too_large("The body inflates to more than this path takes.")),
        Ok(_) => Ok(Sent::Plain(plain.into())),
    }
}

/// # Errors
/// 415 if the body is compressed.
pub fn not_compressed(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            Err(Problem::unsupported_media_type("This path takes no compressed body."))
        }
        _ => Ok(()),
    }
}
