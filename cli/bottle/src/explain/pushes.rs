//! Why git-gate refuses a push.

use bottle_core::git::Refused;

/// Why a push is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// No rule lets the ref be pushed.
    Ref,
    /// The ref's name.
    Name,
    /// It is a tag.
    Tag,
    /// It would delete a branch.
    Delete,
    /// It would rewrite a branch.
    Force,
    /// It touches a guarded path.
    Path,
    /// It contains what looks like a secret.
    Secret,
}

impl Push {
    /// Every reason.
    pub const ALL: &'static [Self] =
        &[Self::Ref, Self::Name, Self::Tag, Self::Delete, Self::Force, Self::Path, Self::Secret];

    /// Returns the name by which it is explained. The log has the whole sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ref => "push-ref",
            Self::Name => "push-name",
            Self::Tag => "push-tag",
            Self::Delete => "push-delete",
            Self::Force => "push-force",
            Self::Path => "push-path",
            Self::Secret => "push-secret",
        }
    }

    /// Returns its paragraph.
    pub fn paragraph(self) -> &'static str {
        match self {
            Self::Ref => {
                "No rule of the repository's policy lets this ref be pushed. Without rules, branches may be pushed and wait for you, and everything else is refused. Name the ref in the `rules` of the repository in bottle.toml, or let the agent push a branch."
            }
            Self::Name => {
                "The ref has a name that nobody should have to read or type: characters outside of a plain set, or more than 200 of them. Names are shown to you and given to programs, so odd ones are refused. Let the agent choose a plain name."
            }
            Self::Tag => {
                "The push contains a tag, and the repository's policy lets none through. Tags start releases in many places. `tags = true` in the repository's policy in bottle.toml lets them wait for you like branches."
            }
            Self::Delete => {
                "The push would delete a branch. What is deleted upstream may be gone for everybody, so it is refused unless the policy says `force = true`. Delete the branch yourself if you want it gone."
            }
            Self::Force => {
                "The push would rewrite a branch: its new commit does not contain the old one. Work of others could be lost, so it is refused unless the policy says `force = true`. Let the agent push a new branch, or merge instead."
            }
            Self::Path => {
                "A commit of the push touches a path that the policy guards, such as what continuous integration runs. A change there could run with your upstream's rights before you have looked. `deny_paths` in bottle.toml lists the guarded paths; make that change yourself, or take the path off the list."
            }
            Self::Secret => {
                "The push contains what looks like a key or a password, at the place that the message names. Once it is upstream, it has to be replaced. Let the agent remove it from every commit of the branch, and not only from the last one."
            }
        }
    }
}

impl From<&Refused> for Push {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::Ref => Self::Ref,
            Refused::Name => Self::Name,
            Refused::Tag => Self::Tag,
            Refused::Delete => Self::Delete,
            Refused::Force => Self::Force,
            Refused::Path(_) => Self::Path,
            Refused::Secret(_) => Self::Secret,
        }
    }
}
