//! A guest that keeps swapping names, for races.

use crate::ways_back::target::Target;
use anyhow::Result;

/// How many pairs of names are swapped.
pub const PAIRS: usize = 16;

/// Keeps swapping `one0` with `other0`, `one1` with `other1` and so on in the guest's workspace, as fast
/// as it can.
pub fn swap(target: &Target, folder: &str, one: &str, other: &str) -> Result<()> {
    // renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
    let number = if cfg!(target_arch = "x86_64") { 316 } else { 276 };
    let last = PAIRS - 1;
    let script = format!(
        "cd {folder}; perl -e 'my @a = map {{ \"{one}$_\" }} 0..{last}; my @b = map {{ \"{other}$_\" }} 0..{last}; while (1) {{ my $i = int(rand({PAIRS})); syscall({number}, -100, $a[$i], -100, $b[$i], 2) }}' > /dev/null 2>&1 < /dev/null & sleep 0.2; kill -0 $!"
    );
    target.guest(&script).map(drop)
}
