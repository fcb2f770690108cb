//! Attacks on `bottle cp`: the helper in the guest is replaced by one that sends an archive of its own.

use crate::ways_back::field::{Field, Verdict};
use crate::ways_back::{Attack, Needs};
use anyhow::Result;
use bottle::defence::Defence;

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    vec![Attack { name: "cp-file-becomes-hook", defence: Defence::CopyNames, needs: Needs::Any, run: hook }]
}

/// One file is asked for; a hook and a configuration come.
fn hook(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.put("project/.git/hooks/pre-commit.sample", "")?;
    field.watch("project/.git");
    field.begin()?;
    field.guest("mkdir -p /tmp/a/.git/hooks; echo evil > /tmp/a/.git/hooks/post-checkout")?;
    field.replace_helper("exec tar -C /tmp/a -cf - .git/hooks/post-checkout")?;
    field.operator(&["cp", "t:/etc/hosts", "."])?;
    Ok(Verdict::Held)
}
