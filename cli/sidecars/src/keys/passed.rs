//! A response body that is passed through as it arrives, and cut off if it contains a key.

use bottle_core::upstream::echo::{Echo, Echoed};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use zeroize::Zeroizing;

/// Keys that no response may contain. They are overwritten when they are dropped.
pub type Secrets = Arc<Zeroizing<Vec<Vec<u8>>>>;

/// A response body that somebody else wrote.
pub struct Passed<B = Incoming> {
    body: B,
    guarded: Option<Guarded>,
}

struct Guarded {
    secrets: Secrets,
    held: Vec<u8>,
    over: bool,
    on_echo: Option<Box<dyn FnOnce() + Send>>,
}

impl<B> Passed<B> {
    /// Creates a body that needs no search for keys.
    pub fn plain(body: B) -> Self {
        Self { body, guarded: None }
    }

    /// Creates a body that is searched for keys. `on_echo` is called if one is found.
    pub fn guarded(body: B, secrets: Secrets, on_echo: impl FnOnce() + Send + 'static) -> Self {
        let on_echo: Option<Box<dyn FnOnce() + Send>> = Some(Box::new(on_echo));
        Self { body, guarded: Some(Guarded { secrets, held: Vec::new(), over: false, on_echo }) }
    }
}

impl Guarded {
    /// Returns the bytes that may be passed on now.
    fn next(&mut self, part: &[u8]) -> Result<Vec<u8>, Echoed> {
        let mut echo = Echo::resume(&self.secrets, std::mem::take(&mut self.held));
        let passed = echo.next(part).inspect_err(|_| {
            if let Some(on_echo) = self.on_echo.take() {
                on_echo();
            }
        });
        self.held = echo.end();
        passed
    }
}

impl<B> Body for Passed<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        loop {
            let polled = Pin::new(&mut this.body);
            let Some(guarded) = &mut this.guarded else {
                return polled.poll_frame(context).map_err(Into::into);
            };
            if guarded.over {
                return Poll::Ready(None);
            }
            match ready!(polled.poll_frame(context)).transpose().map_err(Into::into)? {
                Some(frame) => {
                    // Trailers could contain a key, too, and no client needs them.
                    let data = frame.into_data().unwrap_or_default();
                    let passed = guarded.next(&data).inspect_err(|_| guarded.over = true)?;
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(passed.into()))));
                    }
                }
                None => {
                    guarded.over = true;
                    let held = std::mem::take(&mut guarded.held);
                    if !held.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(held.into()))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.guarded.as_ref().is_none_or(|guarded| guarded.held.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.guarded.as_ref().map_or(0, |guarded| guarded.held.len() as u64);
        let hint = self.body.size_hint();
        match hint.exact() {
            Some(exact) => SizeHint::with_exact(exact + held),
            None => hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    const KEY: &str = "sk-secret-0123456789";

    async fn through(parts: &[&str]) -> (Option<String>, bool) {
        let frames: Vec<Result<_, std::io::Error>> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::copy_from_slice(part.as_bytes())))).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let found = Arc::new(AtomicBool::new(false));
        let secrets = Arc::new(Zeroizing::new(vec![KEY.as_bytes().to_vec(), b"short".to_vec()]));
        let note = Arc::clone(&found);
        let body = Passed::guarded(body, secrets, move || note.store(true, Relaxed));
        let all = body.collect().await.ok().map(|all| String::from_utf8(all.to_bytes().into()).unwrap());
        (all, found.load(Relaxed))
    }

    #[tokio::test]
    async fn a_key_is_found_however_it_is_split_and_other_bytes_pass() {
        for cut in 1..KEY.len() {
            let parts = [&format!("before {}", &KEY[..cut]), &format!("{} after", &KEY[cut..])];
            assert_eq!(through(&[parts[0], parts[1]]).await, (None, true), "{cut}");
        }
        let single: Vec<String> = KEY.chars().map(String::from).collect();
        assert_eq!(through(&single.iter().map(String::as_str).collect::<Vec<_>>()).await, (None, true));
        for whole in [
            &["sk-secret-", "sk-secret-", "0123456", "78"][..],
            &["short is no key", ""],
            &["", "sk-", "secre", "t"],
            &[],
        ] {
            assert_eq!(through(whole).await, (Some(whole.concat()), false), "{whole:?}");
        }
    }
}
