//! A response's body, which may be endless, and may take for ever.

use crate::limits::Limits;
use crate::refusal::{Refusal, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A response's body.
pub struct Body {
    incoming: Incoming,
    host: String,
    limits: Limits,
    /// When the current stretch of [`Limits::pace`] began, and what has arrived in it.
    since: Instant,
    arrived: u64,
}

impl Body {
    pub(super) fn new(incoming: Incoming, host: String, limits: Limits) -> Self {
        Self { incoming, host, limits, since: Instant::now(), arrived: 0 }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the connection ends too early, or if too little comes for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let end = self.since + self.limits.pace;
        let Some(bytes) = self.until(end).await? else { return Ok(None) };
        self.arrived += bytes.len() as u64;
        if self.arrived >= self.limits.pace_bytes {
            (self.since, self.arrived) = (Instant::now(), 0);
        }
        Ok(Some(bytes))
    }

    /// Reads a document as a whole.
    ///
    /// # Errors
    /// Returns an error if it is longer than `most`, or does not end in time.
    pub async fn whole(mut self, most: u64) -> Result<Vec<u8>> {
        let end = Instant::now() + self.limits.document;
        let mut whole = Vec::new();
        while let Some(bytes) = self.until(end).await? {
            if (whole.len() + bytes.len()) as u64 > most {
                return Err(Refusal::hostile(&self.host, format!("a document of more than {most} bytes")));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }

    /// Reads the beginning of what an error says.
    pub async fn beginning(mut self) -> Vec<u8> {
        let end = Instant::now() + self.limits.document.min(Duration::from_secs(5));
        let mut read = Vec::new();
        while read.len() < 4096 {
            match self.until(end).await {
                Ok(Some(bytes)) => read.extend_from_slice(&bytes),
                _ => break,
            }
        }
        read.truncate(4096);
        read
    }

    async fn until(&mut self, end: Instant) -> Result<Option<Bytes>> {
        loop {
            match timeout_at(end, self.incoming.frame()).await {
                Err(_) => {
                    return Err(Refusal::Stalled(
                        self.host.clone(),
                        "what it sends comes too slowly, or not at all",
                    ));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Refusal::Broken(self.host.clone(), error.to_string())),
                // Trailers say nothing that is needed.
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
    }
}
