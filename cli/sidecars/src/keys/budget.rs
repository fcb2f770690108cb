//! Room for the bodies of requests that may be made a second time.

use hyper::body::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes of bodies are kept for all requests together.
const ALL: usize = 64 << 20;

/// The room that is left.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

/// Room for one body.
#[derive(Debug)]
pub struct Room {
    bytes: Vec<u8>,
    size: usize,
    _taken: OwnedSemaphorePermit,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL)))
    }
}

impl Budget {
    /// Takes room for a body of this size, if there is any left.
    pub fn take(&self, size: usize) -> Option<Room> {
        let taken = Arc::clone(&self.0).try_acquire_many_owned(size.try_into().ok()?).ok()?;
        Some(Room { bytes: Vec::new(), size, _taken: taken })
    }
}

impl Room {
    /// Adds a part of the body. Returns whether it fits.
    pub fn add(&mut self, part: &[u8]) -> bool {
        let fits = self.bytes.len() + part.len() <= self.size;
        if fits {
            // A buffer that grows by doubling would be larger than what was taken.
            if self.bytes.capacity() == 0 {
                self.bytes.reserve_exact(self.size);
            }
            self.bytes.extend_from_slice(part);
        }
        fits
    }

    /// Returns the whole body. Its room is free again when the last clone is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_comes_back_with_the_last_clone() {
        let budget = Budget::default();
        let mut one = budget.take(3).unwrap();
        assert!(budget.take(ALL - 2).is_none());
        let rest = budget.take(ALL - 3).unwrap();
        assert!(budget.take(1).is_none());
        drop(rest);
        assert!(one.add(b"a") && one.add(b"bc") && !one.add(b"d"));
        let (body, same) = {
            let body = one.into_bytes();
            (body.clone(), body)
        };
        assert_eq!(body, "abc");
        drop(body);
        assert!(budget.take(ALL).is_none());
        drop(same);
        assert!(budget.take(ALL).is_some());
    }
}
