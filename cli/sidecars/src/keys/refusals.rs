//! How often an origin's refusals may have a key renewed.

use std::time::Duration;
use tokio::time::Instant;

/// How many renewals may follow one another at once.
const AT_ONCE: u32 = 4;
/// How long it takes until another one may follow.
const EACH: Duration = Duration::from_secs(10);

/// Limits the renewals that refusals cause: a guest chooses the requests, and so how many of them are refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusals {
    left: u32,
    since: Instant,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { left: AT_ONCE, since: Instant::now() }
    }
}

impl Refusals {
    /// Takes one renewal, if there is one left.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = (now - self.since).as_secs() / EACH.as_secs();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        self.since += EACH.saturating_mul(gained);
        self.left = self.left.saturating_add(gained).min(AT_ONCE);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_renewals_follow_at_once_and_then_one_now_and_then() {
        let mut refusals = Refusals::default();
        let taken = |refusals: &mut Refusals| (0..100).filter(|_| refusals.take()).count();
        assert_eq!(taken(&mut refusals), 4);
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(6)).await;
            refusals.take();
        }
        assert_eq!(taken(&mut refusals), 0);
        tokio::time::advance(EACH).await;
        assert_eq!(taken(&mut refusals), 1);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(taken(&mut refusals), 4);
    }
}
