//! The keys that no answer may contain.

use super::passed::Secrets;
use std::collections::VecDeque;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How many former keys of an upstream are looked for, too: an origin may accept one for a while.
const FORMER: usize = 16;

/// The keys of every upstream. Those in use are always looked for, however often another upstream's are renewed.
#[derive(Default)]
pub struct KnownKeys {
    each: Vec<OfUpstream>,
    all: Secrets,
}

#[derive(Default)]
struct OfUpstream {
    in_use: Zeroizing<Vec<Vec<u8>>>,
    former: VecDeque<Zeroizing<Vec<u8>>>,
}

impl KnownKeys {
    /// Returns all of them, to look for them in an answer.
    pub fn all(&self) -> Secrets {
        Arc::clone(&self.all)
    }

    /// Puts other keys of an upstream into use.
    pub fn replace(&mut self, upstream: usize, keys: Vec<Vec<u8>>) {
        if self.each.len() <= upstream {
            self.each.resize_with(upstream + 1, OfUpstream::default);
        }
        let of = &mut self.each[upstream];
        let before = std::mem::replace(&mut of.in_use, Zeroizing::new(keys));
        for key in before.iter().filter(|key| !of.in_use.contains(key)) {
            of.former.retain(|known| **known != *key);
            of.former.push_front(Zeroizing::new(key.clone()));
        }
        of.former.truncate(FORMER);
        let in_use = self.each.iter().flat_map(|of| of.in_use.iter());
        let former = self.each.iter().flat_map(|of| of.former.iter().map(|key| &**key));
        let mut all: Vec<Vec<u8>> = in_use.chain(former).cloned().collect();
        all.sort_unstable();
        all.dedup();
        self.all = Arc::new(Zeroizing::new(all));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_use_is_looked_for_however_often_others_are_renewed() {
        const UPSTREAMS: usize = 5;
        let key = |upstream: usize, number: usize| format!("key-{upstream}-{number:05}").into_bytes();
        let mut known = KnownKeys::default();
        let mut renewed = [0; UPSTREAMS];
        for upstream in 0..UPSTREAMS {
            known.replace(upstream, vec![key(upstream, 0), b"shared-by-all".to_vec()]);
        }
        // In an order without a pattern, and some upstreams far more often than others.
        let mut random: usize = 1;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let upstream = ((random >> 33) % UPSTREAMS).min((random >> 40) % UPSTREAMS);
            renewed[upstream] += 1;
            known.replace(upstream, vec![key(upstream, renewed[upstream]), b"shared-by-all".to_vec()]);
            let all = known.all();
            for (upstream, &last) in renewed.iter().enumerate() {
                for number in last.saturating_sub(FORMER)..=last {
                    assert!(all.contains(&key(upstream, number)), "{upstream} {number} of {last}");
                }
            }
            assert!(all.contains(&b"shared-by-all".to_vec()));
            assert!(all.len() <= 1 + UPSTREAMS * (1 + FORMER), "{}", all.len());
        }
    }

    #[test]
    fn a_key_that_comes_back_is_in_use_again() {
        let mut known = KnownKeys::default();
        for key in ["one", "two", "one", "three"] {
            known.replace(0, vec![key.into()]);
        }
        assert_eq!(**known.all(), [b"one".to_vec(), b"three".to_vec(), b"two".to_vec()]);
    }
}
