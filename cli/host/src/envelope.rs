//! What every command prints with `--json`: one object, whether the command succeeded or not.

use crate::failure::{Failure, Kind};
use schemars::JsonSchema;
use serde::Serialize;

/// The version of every document's format. It changes when programs that read one would have to.
const VERSION: u32 = 1;

/// Returns the identifier of a document's format.
pub fn schema(name: &str) -> String {
    format!("bottle/{name}/{VERSION}")
}

/// The answer of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Envelope<T> {
    /// The form of this object: `bottle/NAME/VERSION`.
    pub schema: String,
    /// Whether the command ended with status 0.
    pub ok: bool,
    /// What was asked for. It may be there beside an error, as with `doctor` and `verify`.
    pub data: Option<T>,
    /// Remarks that a person reads on standard error.
    pub warnings: Vec<String>,
    /// Why the status is not 0.
    pub error: Option<Problem>,
}

/// Why a command did not end with status 0.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// The kind of failure, in a word that does not change. Each belongs to one exit status.
    #[schemars(extend("enum" = Kind::ALL.map(Kind::word)))]
    pub code: &'static str,
    /// What went wrong, for a person.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl<T> Envelope<T> {
    /// Wraps the result of a command, or the reason why it failed.
    pub fn new(schema: String, data: Option<T>, warnings: Vec<String>, failure: Option<&Failure>) -> Self {
        let error = failure.map(|failure| Problem {
            code: failure.kind().word(),
            message: failure.what().to_owned(),
            hint: failure.hint().map(str::to_owned),
        });
        Self { schema, ok: error.is_none(), data, warnings, error }
    }
}
