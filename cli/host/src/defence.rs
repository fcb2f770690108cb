//! The defences against what comes back from a guest, by name.
//!
//! Code asks about a defence where it applies: `Defence::X.stands()`. In a release build the answer is always
//! yes, and the compiler removes the question. In a debug build `BOTTLE_WITHOUT` names the defences to
//! remove, so that `make ways-back` can show that each attack succeeds without its defence and fails with it.
//! `docs/trust.md` says what each defence is for.

macro_rules! defences {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A defence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defence {
            $($(#[$doc])* $variant,)*
        }

        impl Defence {
            /// All defences.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name in `BOTTLE_WITHOUT`, in reports and in `docs/trust.md`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

defences! {
    /// What `cp` writes has the name that the operator gave, or is below it.
    CopyNames = "copy-names",
    /// `cp` writes only files, folders, and links that stay inside.
    CopyKinds = "copy-kinds",
    /// A guest's tree can only make the host read and write a limited amount.
    TreeLimits = "tree-limits",
    /// Paths are walked from a descriptor, one component at a time, and no link is followed.
    Beneath = "beneath",
    /// Nothing comes back that git would take for a repository.
    GitNames = "git-names",
    /// A guest's changes are applied as they were shown, or not at all.
    ShownIsApplied = "shown-is-applied",
    /// A configuration is trusted for what a person has seen of it, not for what it says about itself.
    ConfigProvenance = "config-provenance",
    /// Host paths are used only in the state in which they were checked.
    PinnedPaths = "pinned-paths",
    /// Host git reads no configuration, hook, attribute or filter that a guest could have written.
    GitConfig = "git-config",
    /// A push goes to the upstream that was recorded at the start.
    GitUpstream = "git-upstream",
    /// Approving a push approves the commit that was shown.
    ShownIsApproved = "shown-is-approved",
    /// A push is judged by its trees, not by the text of a patch.
    GitTrees = "git-trees",
    /// Colliding branch names do no harm.
    GitRefNames = "git-ref-names",
    /// git and its hooks have limited memory, time, processes and descriptors.
    GitLimits = "git-limits",
    /// In text that a guest wrote, everything that could control a terminal is escaped.
    Visible = "visible",
    /// A guest's lines and answers are read up to a limit.
    BoundedReads = "bounded-reads",
    /// The operator's decisions are kept apart from anything that a guest can fill.
    DecisionsApart = "decisions-apart",
    /// Repeated refusals are counted.
    CountedRefusals = "counted-refusals",
    /// Only this bottle's own virtual machine may connect.
    Peer = "peer",
    /// smolvm confines its virtual machine's process.
    MachineConfined = "machine-confined",
    /// The keeper gives up what it does not need before it reads the guest's first byte.
    KeeperConfined = "keeper-confined",
    /// git runs confined to its repositories.
    GitConfined = "git-confined",
    /// Methods whose response repeats the request are not forwarded.
    Methods = "methods",
    /// A request stays below its upstream's path.
    UpstreamPath = "upstream-path",
    /// A guest's headers cannot choose another path or another method, or forge a credential.
    UpstreamHeaders = "upstream-headers",
    /// A response that contains a key does not reach the guest.
    KeyEcho = "key-echo",
    /// The egress proxy never dials the host's own addresses, public or not.
    OwnAddresses = "own-addresses",
    /// Every refusal is in the log.
    RefusalsLogged = "refusals-logged",
    /// A question can only be approved with an answer.
    AnswerNeeded = "answer-needed",
    /// A decision waits for the agent that asked.
    DecisionKept = "decision-kept",
    /// A number in the inbox identifies one request forever.
    RequestNumbers = "request-numbers",
    /// Lines that were rotated away are reported as gone.
    GapTold = "gap-told",
    /// `deny` closes open connections.
    DenyCloses = "deny-closes",
    /// `verify` has a half that no guest can forge.
    VerifyFromHost = "verify-from-host",
    /// A stream leads to a door or nowhere.
    DoorsOnly = "doors-only",
    /// A published port is on the loopback alone.
    PublishedLoopback = "published-loopback",
    /// A guest's file server answers what it was asked, with what a file system can say.
    SftpReplies = "sftp-replies",
    /// What an SSH client leaves behind ends in time, whatever the guest does.
    SshLeaves = "ssh-leaves",
    /// The first wall: every frame crosses the guard.
    Guard = "guard",
    /// The second wall: the network stack is in its own namespace.
    Jail = "jail",
}

/// The variable that names the defences to remove, separated by commas.
pub const WITHOUT: &str = "BOTTLE_WITHOUT";

impl Defence {
    /// Returns whether the defence stands. It always does, except in a debug build whose environment removes
    /// it.
    #[cfg(debug_assertions)]
    pub fn stands(self) -> bool {
        let gone = std::env::var(WITHOUT).unwrap_or_default();
        !gone.split(',').any(|name| name == self.name())
    }

    /// Returns whether the defence stands: always.
    #[cfg(not(debug_assertions))]
    pub const fn stands(self) -> bool {
        true
    }
}
