//! The defences against what comes back from a guest, by name.
//!
//! Each one is asked for where it stands: `Defence::X.stands()`. A release build always answers yes,
//! and the compiler removes the question. In a debug build `BOTTLE_WITHOUT` names those that are
//! taken away, so that `make ways-back` can show for each attack that it succeeds without the
//! defence and fails with it. `docs/trust.md` says what each one is for.

macro_rules! defences {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A defence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defence {
            $($(#[$doc])* $variant,)*
        }

        impl Defence {
            /// Every defence.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in `BOTTLE_WITHOUT`, in reports and in `docs/trust.md`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

defences! {
    /// What `cp` writes has the name that the operator gave, and stays below it.
    CopyNames = "copy-names",
    /// What `cp` writes is a file, a folder or a link that stays inside; nothing else.
    CopyKinds = "copy-kinds",
    /// What a guest's tree makes the host read and write is bounded.
    TreeLimits = "tree-limits",
    /// Paths are walked from a descriptor, one component at a time, and no link is followed.
    Beneath = "beneath",
    /// Nothing that git would take for a repository comes back.
    GitNames = "git-names",
    /// What a guest made is taken back as it was shown, or not at all.
    ShownIsApplied = "shown-is-applied",
    /// A configuration is trusted by what a person has seen, not by what it says of itself.
    ConfigProvenance = "config-provenance",
    /// Host paths are used as they were when they were checked.
    PinnedPaths = "pinned-paths",
    /// Host git reads no configuration, hook, attribute or filter that a guest could have written.
    GitConfig = "git-config",
    /// A push goes to the upstream that was recorded at the start.
    GitUpstream = "git-upstream",
    /// A push is approved by the commit that was shown.
    ShownIsApproved = "shown-is-approved",
    /// A push is judged by its trees, not by the text of a patch.
    GitTrees = "git-trees",
    /// Names of branches that collide do no harm.
    GitRefNames = "git-ref-names",
    /// git and its hooks have a bounded share of memory, time, processes and descriptors.
    GitLimits = "git-limits",
    /// Text that a guest wrote is shown with everything escaped that steers a terminal.
    Visible = "visible",
    /// Lines and answers of a guest's are read up to a limit.
    BoundedReads = "bounded-reads",
    /// What an operator decided is kept apart from what a guest can fill.
    DecisionsApart = "decisions-apart",
    /// Refusals that repeat are counted.
    CountedRefusals = "counted-refusals",
    /// Only the virtual machine of this bottle is greeted.
    Peer = "peer",
    /// smolvm confines its virtual machine's process.
    MachineConfined = "machine-confined",
    /// The keeper gives up what it does not need before it reads the guest's first byte.
    KeeperConfined = "keeper-confined",
    /// git runs confined to its repositories.
    GitConfined = "git-confined",
    /// Methods whose answer repeats the request are not passed on.
    Methods = "methods",
    /// A request stays below its upstream's path.
    UpstreamPath = "upstream-path",
    /// A guest's headers choose neither another path nor another method, and forge no credential.
    UpstreamHeaders = "upstream-headers",
    /// An answer that has a key in it does not reach the guest.
    KeyEcho = "key-echo",
    /// The host's own addresses are not dialled, public or not.
    OwnAddresses = "own-addresses",
    /// Each refusal is in the log.
    RefusalsLogged = "refusals-logged",
    /// A question is approved with an answer.
    AnswerNeeded = "answer-needed",
    /// A decision waits for the agent that asked.
    DecisionKept = "decision-kept",
    /// A number in the inbox names one wish for ever.
    WishNumbers = "wish-numbers",
    /// Lines that were rotated away are said to be gone.
    GapTold = "gap-told",
    /// `deny` closes what is open.
    DenyCloses = "deny-closes",
    /// `verify` has a half that no guest can forge.
    VerifyFromHost = "verify-from-host",
    /// The first wall: each frame crosses the guard.
    Guard = "guard",
    /// The second wall: the network stack is in a namespace of its own.
    Jail = "jail",
}

/// The variable that names those that are taken away, separated by commas.
pub const WITHOUT: &str = "BOTTLE_WITHOUT";

impl Defence {
    /// Whether it stands. It always does, but in a debug build whose environment takes it away.
    #[cfg(debug_assertions)]
    pub fn stands(self) -> bool {
        let gone = std::env::var(WITHOUT).unwrap_or_default();
        !gone.split(',').any(|name| name == self.name())
    }

    /// Whether it stands.
    #[cfg(not(debug_assertions))]
    pub const fn stands(self) -> bool {
        true
    }
}
