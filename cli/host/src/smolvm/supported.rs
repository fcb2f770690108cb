//! Which versions of smolvm bottle works with.

use bottle_core::stack::dialect::Version;

/// The oldest one that bottle works with: the first with `--state-dir`, which keeps a bottle's machines apart from others.
/// `make real SMOLVM=oldest` runs it.
pub const OLDEST: Version = Version { major: 1, minor: 31, patch: 0 };

/// The newest one that bottle was run with, for texts. `bottle doctor` says how to install it.
macro_rules! tested {
    () => {
        "1.32.2"
    };
}
pub(crate) use tested;

/// The newest one that bottle was run with.
pub const TESTED: &str = tested!();
