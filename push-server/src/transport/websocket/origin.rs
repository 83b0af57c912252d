//! Origins of web pages (RFC 6454): browsers say in each request which page's script it is of. Nobody
//! else has to, so an origin tells pages apart, and no programs.

use tungstenite::http::Uri;

/// Schemes that have a port of their own, which an origin does not name then.
const PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// An origin in the one form in which two of them are compared; `None`: it is none.
pub(crate) fn normal_origin(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_whole = text.len() == scheme.len() + "://".len() + authority.as_str().len();
    if !is_whole || authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let host = authority.host().to_ascii_lowercase();
    let port = match authority.port() {
        None if authority.as_str().len() > host.len() => return None,
        None => None,
        Some(port) => Some(port.as_u16()),
    };
    Some(match port.filter(|port| !PORTS.contains(&(&*scheme, *port))) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests;
