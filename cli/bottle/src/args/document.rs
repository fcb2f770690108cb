//! The documents that `bottle schema` describes.

use clap::ValueEnum;
use std::ffi::OsString;

/// A document that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// The configuration file
    #[value(name = "bottle.toml")]
    BottleToml,
    /// A line of bottle audit
    Audit,
    /// bottle audit --check --json
    AuditCheck,
    /// bottle check --json
    Check,
    /// bottle cleanup --json
    Cleanup,
    /// bottle config --json
    Config,
    /// bottle diff --json
    Diff,
    /// bottle doctor --json
    Doctor,
    /// The line of bottle exec --status-fd
    Ended,
    /// A line of bottle events --json
    Events,
    /// bottle git SLUG list --json
    GitList,
    /// bottle images ls --json
    ImagesLs,
    /// bottle images pull IMAGE --json
    ImagesPull,
    /// bottle images rm IMAGE --json
    ImagesRm,
    /// bottle images prune --json
    ImagesPrune,
    /// bottle inbox --json
    Inbox,
    /// bottle inspect
    Inspect,
    /// bottle ls --json
    Ls,
    /// What the command of [notify] is given
    Notice,
    /// bottle plan --json
    Plan,
    /// bottle plan --diff --json
    PlanDiff,
    /// bottle pool --json
    Pool,
    /// result.json of bottle run --out
    Result,
    /// bottle stats --json, and a line of bottle stats --json --follow
    Stats,
    /// bottle status --json
    Status,
    /// bottle suggest --json
    Suggest,
    /// bottle top --json
    Top,
    /// bottle trash --json
    Trash,
    /// bottle verify --json
    Verify,
}

impl Document {
    /// Returns its name, as `bottle schema` takes it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the name of the document that a command line asks for, as far as one can be recognized in a
    /// command line that is wrong: `error` if it cannot, and nothing if it does not ask for JSON.
    pub fn wanted(words: impl Iterator<Item = OsString>) -> Option<String> {
        let words = words.take_while(|word| word != "--").filter_map(|word| word.into_string().ok());
        let words: Vec<String> = words.collect();
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let named = words.iter().find(|word| Self::from_str(word, false).is_ok()).map(String::as_str);
        let always = words.iter().find(|word| !word.starts_with('-')).is_some_and(|word| word == "inspect");
        (has("--json") || always).then(|| match named {
            _ if has("git") => Self::GitList.name(),
            _ if has("images") && has("pull") => Self::ImagesPull.name(),
            _ if has("images") && has("rm") => Self::ImagesRm.name(),
            _ if has("images") && has("prune") => Self::ImagesPrune.name(),
            _ if has("images") => Self::ImagesLs.name(),
            Some("audit") => Self::AuditCheck.name(),
            Some("events") => "error".to_owned(),
            Some("plan") if has("--diff") => Self::PlanDiff.name(),
            Some(name) => name.to_owned(),
            None => "error".to_owned(),
        })
    }
}
