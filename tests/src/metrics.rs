//! The server's HTTP port, read by hand: `/metrics`, `/healthz`, `/readyz`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long one request may take before the test fails.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// One scrape. Keys are `name` or `name{label="value",...}` with labels in alphabetical order.
#[derive(Debug, Default)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
    text: String,
}

impl Metrics {
    /// Parses the Prometheus text format as far as the server prints it (no escapes in label
    /// values).
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((normal(name), value.parse().ok()?))
            })
            .collect();
        Self { samples, text: text.to_owned() }
    }

    /// A sample by name and labels, if it is there.
    pub fn find(&self, sample: &str) -> Option<u64> {
        // The counters are integers far below 2^53, printed as floating point.
        self.samples.get(&normal(sample)).map(|value| *value as u64)
    }

    /// A sample by name and labels; 0 if it is missing, as a label never used may be.
    pub fn value(&self, sample: &str) -> u64 {
        self.find(sample).unwrap_or(0)
    }

    /// Whether any sample or `# TYPE` line has the name.
    pub fn has_name(&self, name: &str) -> bool {
        self.text.lines().any(|line| {
            let rest = line.strip_prefix("# TYPE ").unwrap_or(line);
            // The TYPE line of a counter may leave out `_total` (OpenMetrics).
            [name, name.strip_suffix("_total").unwrap_or(name)].iter().any(|name| {
                rest.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
            })
        })
    }

    /// Pings that the kernel answered.
    pub fn kernel_pings(&self) -> u64 {
        self.value("push_pings_total{path=\"kernel\"}")
    }

    /// Pings that user space answered.
    pub fn user_pings(&self) -> u64 {
        self.value("push_pings_total{path=\"user\"}")
    }

    /// As scraped.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// `name{b="1",a="2"}` with its labels sorted.
fn normal(sample: &str) -> String {
    let Some((name, labels)) = sample.split_once('{') else { return sample.to_owned() };
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    labels.retain(|label| !label.is_empty());
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, status line included.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks for `path` on a connected stream. HTTP/1.0, so that the answer ends with the connection.
pub fn request(mut stream: TcpStream, path: &str) -> io::Result<Answer> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: push\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests;
