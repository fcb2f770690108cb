//! How many connections this process has descriptors for, and what to make of having none left.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// What a connection needs: a socket to each side, and now and then pipes between them.
const EACH: u64 = 3;
/// What everything else needs.
const OTHERS: u64 = 128;

/// Raises the limit of this process's descriptors to the most that it may have. It keeps its limit where that fails.
pub fn raise() {
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// Returns how many of the wanted connections there are descriptors for, at least one.
pub fn enough_for(wanted: u16) -> usize {
    let fits = getrlimit(Resource::Nofile).current.map_or(u64::MAX, fitting);
    usize::try_from(fits).unwrap_or(usize::MAX).min(wanted.into())
}

fn fitting(descriptors: u64) -> u64 {
    (descriptors.saturating_sub(OTHERS) / EACH).max(1)
}

/// Returns whether the machine or this process lacks something that it may have again later.
pub fn is_lack(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| lacks.contains(&Errno::from_raw_os_error(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_connections_than_descriptors_and_always_one() {
        assert_eq!([0, 130, 1024, 20_000].map(fitting), [1, 1, 298, 6624]);
        assert_eq!(enough_for(1), 1);
    }

    #[test]
    fn having_none_left_is_not_the_end() {
        let code = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(is_lack(&code(Errno::MFILE)) && is_lack(&code(Errno::NOBUFS)));
        assert!(!is_lack(&code(Errno::BADF)) && !is_lack(&io::ErrorKind::NotConnected.into()));
    }
}
