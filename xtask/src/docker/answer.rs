//! An answer of the engine that is a stream of JSON objects, one per line. Knows nothing of what they say.

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::Value;

use super::error::{DockerError, chain, from_status};
use super::runtime::Owned;

/// The lines of an answer.
pub struct Lines {
    what: String,
    body: Incoming,
    buffer: Vec<u8>,
    /// Where in the buffer the search for a newline goes on.
    seen: usize,
    /// Whatever keeps the connection going.
    alive: Option<Owned<()>>,
}

impl Lines {
    /// An answer with a bad status becomes the error that it tells of.
    pub async fn of(what: &str, response: Response<Incoming>) -> Result<Self, DockerError> {
        if !response.status().is_success() {
            return Err(refusal(what, response).await);
        }
        Ok(Self { what: what.to_owned(), body: response.into_body(), buffer: Vec::new(), seen: 0, alive: None })
    }

    /// Holds the connection open as long as there are lines.
    pub fn keeping(mut self, alive: Owned<()>) -> Self {
        self.alive = Some(alive);
        self
    }

    /// The next object; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, DockerError> {
        let broken = |what: &str, message: String| DockerError::Infra { what: what.to_owned(), message };
        loop {
            if let Some(at) = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.seen + at).collect();
                self.seen = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|error| broken(&self.what, error.to_string()));
            }
            self.seen = self.buffer.len();
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    return Err(DockerError::Lost { what: self.what.clone(), message: chain(&error).join(": ") });
                }
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => self.buffer.push(b'\n'),
            }
        }
    }
}

/// The error that a bad status stands for.
pub async fn refusal(what: &str, response: Response<Incoming>) -> DockerError {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(fields)) => fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::from_utf8_lossy(&body).into_owned(),
    };
    let message = if message.trim().is_empty() { format!("status {status}") } else { message };
    from_status(what, status, &message)
}

/// The number that follows `words` in a message, e.g. an exit code.
pub fn number_after(text: &str, words: &str) -> Option<i64> {
    let rest = &text[text.rfind(words)? + words.len()..];
    let digits = rest.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>();
    digits.parse().ok()
}

/// The end of what a step printed.
#[derive(Clone, Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    const BYTES: usize = 8 * 1024;
    const LINES: usize = 20;

    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * Self::BYTES {
            self.0.drain(..self.0.len() - Self::BYTES);
        }
    }

    /// The last lines, without control sequences at their ends.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        lines[lines.len().saturating_sub(Self::LINES)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_found() {
        assert_eq!(number_after("executor failed running [/bin/sh -c false]: exit code: 127", "exit code:"), Some(127));
        assert_eq!(number_after("returned a non-zero code: 3", "non-zero code:"), Some(3));
        assert_eq!(number_after("no code", "exit code:"), None);
    }

    #[test]
    fn tails_are_short() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        assert_eq!((tail.lines().len(), tail.lines()[19].as_str()), (20, "line 9999"));
    }
}
