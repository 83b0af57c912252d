//! Asks the hook over HTTP. It decides nothing: a question in, an answer or a failure out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::super::error_text::with_sources;
use super::super::tls::{FileMistake, authorities, hook_provider};
use crate::access::{HOOK_ANSWER_BYTES_MAX, HookAnswer, HookAnswerError, HookQuestion};
use crate::config::HookSettings;

/// Longest time from a question to the end of its answer, for connecting too.
pub(crate) const HOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection is kept for further questions. Less than servers keep one (Node does for 5 s), so that
/// no question goes to a connection that its other end has just given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most lines of it.
const HEADERS_MAX: usize = 64;

/// Most bytes of a file with a token.
const BEARER_BYTES_MAX: u64 = 8 << 10;

/// A way to ask the hook.
#[derive(Debug)]
pub(super) struct HookClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    bearer: Option<HeaderValue>,
}

/// Why the hook cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The file of the token cannot be read.
    #[error("cannot read {}: {source}; it is named by --auth-http-bearer-file, and read without capabilities, as it is \
         again on SIGHUP", path.display())]
    Bearer {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file of the token has something else.
    #[error("{} has no token for the hook: expected one line of visible characters, at most {BEARER_BYTES_MAX} bytes \
         (--auth-http-bearer-file)", path.display())]
    NoBearer {
        /// The file.
        path: PathBuf,
    },
    /// The file of authorities.
    #[error(transparent)]
    Authorities(#[from] FileMistake),
    /// The system names none.
    #[error(
        "this system trusts no authority that could sign the hook's certificate{why}; name a file of them by \
         --auth-http-ca"
    )]
    NoAuthorities {
        /// Why, if anybody knows.
        why: String,
    },
    /// TLS.
    #[error("TLS to the hook cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl HookError {
    /// The setting that is wrong, and its value.
    pub(crate) fn setting(&self, settings: &HookSettings) -> (&'static str, String) {
        let file = |file: &Option<PathBuf>| {
            file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
        };
        match self {
            Self::Bearer { .. } | Self::NoBearer { .. } => {
                ("auth-http-bearer-file", file(&settings.bearer_file))
            }
            Self::Authorities(_) => ("auth-http-ca", file(&settings.ca_file)),
            Self::NoAuthorities { .. } | Self::Tls(_) => {
                ("auth-http", settings.url.as_ref().map(ToString::to_string).unwrap_or_default())
            }
        }
    }
}

/// Why a question has no valid answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookFailure {
    #[error("no answer within {} s", HOOK_TIMEOUT.as_secs())]
    TimedOut,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("the connection ended before the answer did: {0}")]
    Ended(String),
    #[error("it answered with status {0}, and 200 is expected")]
    Status(StatusCode),
    #[error("its answer has more than {HOOK_ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("its answer is not valid: {0}")]
    Invalid(#[from] HookAnswerError),
}

impl HookClient {
    /// Reads the files that `settings` name. `None`: there is no hook.
    ///
    /// # Errors
    /// A file cannot be read, or does not have what it should.
    pub(super) fn load(settings: &HookSettings) -> Result<Option<Self>, HookError> {
        let Some(url) = &settings.url else { return Ok(None) };
        let bearer = settings.bearer_file.as_deref().map(bearer).transpose()?;
        let roots = match &settings.ca_file {
            Some(file) => authorities("auth-http-ca", file)?,
            None if url.has_tls() => system_authorities()?,
            None => RootCertStore::empty(),
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(hook_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(connector);
        Ok(Some(Self { client, uri: url.uri().clone(), bearer }))
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// There is no whole, valid answer in time. Redirects are not followed.
    pub(super) async fn ask(&self, question: &HookQuestion) -> Result<HookAnswer, HookFailure> {
        let answer = tokio::time::timeout(HOOK_TIMEOUT, self.answer(question)).await;
        let body = answer.map_err(|_| HookFailure::TimedOut)??;
        Ok(question.answer(&body)?)
    }

    fn request(&self, question: &HookQuestion) -> Request<Full<Bytes>> {
        // The body is wiped once it has been sent.
        let mut request = Request::new(Full::new(Bytes::from_owner(question.body())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        request
    }

    /// The body of its answer.
    async fn answer(&self, question: &HookQuestion) -> Result<Bytes, HookFailure> {
        let response = match self.client.request(self.request(question)).await {
            // It may have closed a connection that was kept, at the moment when this question took it. Nobody is
            // harmed if it is asked twice.
            Err(error) if !error.is_connect() => self.client.request(self.request(question)).await,
            first => first,
        };
        let response = response.map_err(|error| {
            let text = with_sources(&error);
            match error.is_connect() {
                true => HookFailure::Unreachable(text),
                false => HookFailure::Ended(text),
            }
        })?;
        if response.status() != StatusCode::OK {
            return Err(HookFailure::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), HOOK_ANSWER_BYTES_MAX).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(HookFailure::TooLarge),
            Err(error) => Err(HookFailure::Ended(with_sources(&*error))),
        }
    }
}

/// What the hook is told of who asks.
const AGENT: &str = concat!("push-server/", env!("CARGO_PKG_VERSION"));

/// The token of a file, as a header. Blanks around it do not count.
fn bearer(path: &Path) -> Result<HeaderValue, HookError> {
    let unreadable = |source| HookError::Bearer { path: path.to_owned(), source };
    let no_bearer = || HookError::NoBearer { path: path.to_owned() };
    if fs::metadata(path).map_err(unreadable)?.len() > BEARER_BYTES_MAX {
        return Err(no_bearer());
    }
    let text = zeroize::Zeroizing::new(fs::read(path).map_err(unreadable)?);
    let token = text.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(no_bearer());
    }
    let header = zeroize::Zeroizing::new([b"Bearer ", token].concat());
    let mut header = HeaderValue::from_bytes(&header).map_err(|_| no_bearer())?;
    header.set_sensitive(true);
    Ok(header)
}

/// Those whom the system trusts.
fn system_authorities() -> Result<RootCertStore, HookError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})"));
        return Err(HookError::NoAuthorities { why: why.unwrap_or_default() });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
