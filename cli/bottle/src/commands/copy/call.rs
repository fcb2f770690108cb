//! Calls the helper in a guest, and says why it failed.

use super::stream::Said;
use crate::args::Size;
use crate::commands::context::Context;
use crate::ended::kind;
use bottle_core::helper::HELPER;
use bottle_core::slug::Slug;
use bottle_core::text::Word;
use bottle_guest::archive;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::Terminal;
use bottle_host::tools;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// What to copy in addition, and how much.
#[derive(Clone, Debug)]
pub struct Options {
    /// Also copy files that git or bottle would act upon.
    pub all: bool,
    /// The most bytes to take out of a guest.
    pub max_size: Option<Size>,
    /// Make the folders above that are missing in the guest.
    pub parents: bool,
    /// The user of the guest to be.
    pub user: Option<Word>,
}

/// Returns a call that does one of the helper's jobs with a path.
pub fn helper(
    context: &Context,
    slug: &Slug,
    job: &str,
    path: &OsStr,
    options: &Options,
) -> Outcome<Command> {
    let folder = context.running(Some(slug.clone()))?;
    let mut words = vec![HELPER.to_owned(), job.to_owned()];
    if let Some(user) = &options.user {
        words.extend(["--user".to_owned(), user.to_string()]);
    }
    match (job, options.max_size) {
        ("put" | "unpack", _) if options.parents => words.push("--parents".to_owned()),
        ("get", Some(Size(most))) => words.extend(["--most".to_owned(), most.to_string()]),
        _ => {}
    }
    match path.to_str() {
        // A path that begins with a hyphen is no option.
        Some(path) => words.extend(["--".to_owned(), path.to_owned()]),
        None => {
            let hex = path.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            words.extend([archive::HEX.to_owned(), hex]);
        }
    }
    Ok(tools::smolvm()?.exec(folder.slug(), Terminal::Pipe, &words))
}

/// Returns the failure that the helper reported.
pub fn in_the_guest(Said { code, words }: Said) -> Failure {
    let kind = kind(code).unwrap_or(Kind::Usage);
    let failure = Failure::new(kind, format!("in the guest: {words}"));
    if kind == Kind::TooLarge { failure.help("--max-size allows more") } else { failure }
}
