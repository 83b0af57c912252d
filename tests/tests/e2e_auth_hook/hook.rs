//! A hook: a server of HTTP/1.1 that notes what it is asked and answers as a test says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use push_tests::certificates::Folder;
use push_tests::clients::Connect;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::wire::Version;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
pub(crate) const SERVER_UNAVAILABLE: u8 = 0x88;
pub(crate) const SERVER_BUSY: u8 = 0x89;

/// Time between two bytes of a hook that drips.
const DRIP: Duration = Duration::from_millis(100);

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Request line and headers.
    pub(crate) head: String,
    /// The JSON.
    pub(crate) body: Value,
}

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With status 200 and this JSON.
    Json(Value),
    /// With these bytes, and then it closes.
    Bytes(Vec<u8>),
    /// With these bytes, and then it keeps the connection and says no more.
    Part(Vec<u8>),
    /// With status 200 and this body, a byte now and then.
    Drip(&'static str),
    /// Never.
    Never,
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A hook that runs.
pub(crate) struct Hook {
    address: SocketAddr,
    scheme: &'static str,
    inner: Arc<Inner>,
}

struct Inner {
    answer: Mutex<Arc<Answer>>,
    asked: Mutex<Vec<Asked>>,
    /// Connections accepted.
    connections: AtomicUsize,
    /// Requests that are being answered, and most of them at once.
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    /// Whether requests that are never answered are given up.
    is_over: Mutex<bool>,
    over: Condvar,
    tls: Option<Arc<ServerConfig>>,
}

impl Hook {
    /// Answers so from now on.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(answer, None)
    }

    /// The same over TLS, with the certificate of a folder's server.
    pub(crate) fn start_tls(
        folder: &Folder,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let [certificate, key] = folder.server();
        let chain = CertificateDer::pem_file_iter(certificate).expect("certificates");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        Self::serve(answer, Some(Arc::new(config)))
    }

    fn serve(
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let inner = Arc::new(Inner {
            answer: Mutex::new(Arc::new(answer)),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            is_over: Mutex::new(false),
            over: Condvar::new(),
            tls,
        });
        let serving = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if *lock(&serving.is_over) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let inner = Arc::clone(&serving);
                // Its peer may go at any time.
                thread::spawn(move || stream.and_then(|stream| inner.connection(stream)));
            }
        });
        Self { address, scheme, inner }
    }

    /// Answers otherwise from now on.
    pub(crate) fn now(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *lock(&self.inner.answer) = Arc::new(answer);
    }

    /// What it was asked since, in its order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.inner.asked).clone()
    }

    /// Connections that were opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// Most requests that it was asked at once.
    pub(crate) fn most_under_way(&self) -> usize {
        self.inner.most_under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/mqtt?site=7", self.scheme, self.address)
    }

    /// A server that asks it.
    pub(crate) fn server(&self, path: PingPath) -> ServerBuilder {
        // All clients come from one address, and many of them are refused.
        let server = Server::with(path).flag("--auth-failures", 0).flag("--address-waiting-max", 0);
        server.flag("--auth-http", self.url().as_str())
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        *lock(&self.inner.is_over) = true;
        self.inner.over.notify_all();
        // The listener looks once more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    fn connection(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.requests(stream),
            Some(config) => {
                let session =
                    ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                self.requests(StreamOwned::new(session, stream))
            }
        }
    }

    fn requests(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = request(&mut stream)? {
            let answer = Arc::clone(&lock(&self.answer));
            lock(&self.asked).push(asked.clone());
            let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
            let reply = answer(&asked);
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            let out = stream.get_mut();
            match reply {
                Reply::Json(value) => out.write_all(&whole(&value.to_string()))?,
                Reply::Bytes(bytes) => return out.write_all(&bytes),
                Reply::Part(bytes) => {
                    out.write_all(&bytes)?;
                    out.flush()?;
                    return self.wait_over();
                }
                Reply::Drip(body) => {
                    for byte in whole(body) {
                        out.write_all(&[byte])?;
                        out.flush()?;
                        thread::sleep(DRIP);
                    }
                }
                Reply::Never => return self.wait_over(),
            }
            out.flush()?;
        }
        Ok(())
    }

    fn wait_over(&self) -> io::Result<()> {
        let over = self.over.wait_while(lock(&self.is_over), |is_over| !*is_over);
        drop(over.unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// The next request of a connection; `None`: there is none.
fn request(stream: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let len = len.and_then(|len| len.parse().ok()).expect("a length");
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).expect("JSON");
    Ok(Some(Asked { head, body }))
}

/// A whole answer with a body.
pub(crate) fn whole(body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Lets everybody in whose password is `pencil`, refuses `eve`, and knows nobody else.
pub(crate) fn by_password(asked: &Asked) -> Reply {
    let result = match (asked.body["user"].as_str(), asked.body["password"].as_str()) {
        (Some("eve"), _) => "deny",
        (_, Some("pencil")) => "allow",
        (Some(_), _) => "deny",
        (None, _) => "ignore",
    };
    Reply::Json(json!({ "result": result }))
}

/// A client that gives a name and a password.
pub(crate) fn as_user(version: Version, client_id: &str, name: &str, password: &str) -> Connect {
    Connect::new(version, client_id).login(name, password.as_bytes())
}

/// The name of a sample with a label.
pub(crate) fn sample(name: &str, label: &str, value: &str) -> String {
    format!("{name}{{{label}=\"{value}\"}}")
}

/// Requests to the hook that ended so.
pub(crate) fn requests(result: &str) -> String {
    sample("push_auth_hook_requests_total", "result", result)
}

/// Refusals for this reason.
pub(crate) fn refused(reason: &str) -> String {
    sample("push_authentications_refused_total", "reason", reason)
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
