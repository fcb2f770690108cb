//! What a `.gitmodules` file from a guest may say.
//!
//! git reads it when somebody clones, updates or fetches with submodules. Over the years an update
//! command, a path into `.git`, a URL that is an option and a name with `..` in it have each run programs
//! on the reader's machine. Newer versions of git refuse those. This refuses everything that is not
//! plainly harmless, whichever git reads it.

use super::repository::is_git;

/// Returns whether every line of the file is of a known kind and has a harmless value.
pub fn is_plain(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with(['#', ';']) || is_section(line) || is_setting(line))
}

/// Returns whether the line is `[submodule "name"]`, with nothing after it.
fn is_section(line: &str) -> bool {
    let name = line.strip_prefix("[submodule \"").and_then(|rest| rest.strip_suffix("\"]"));
    name.is_some_and(is_plain_path)
}

fn is_setting(line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else { return false };
    let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
    match key.as_str() {
        "path" => is_plain_path(value),
        "url" => is_plain_url(value),
        "branch" => is_plain_word(value),
        "update" => matches!(value, "checkout" | "rebase" | "merge" | "none"),
        "ignore" => matches!(value, "all" | "dirty" | "untracked" | "none"),
        "shallow" => matches!(value, "true" | "false"),
        "fetchrecursesubmodules" => matches!(value, "true" | "false" | "on-demand"),
        _ => false,
    }
}

/// Returns whether this is a relative path of plain names, none of which git could take for `.git`.
fn is_plain_path(path: &str) -> bool {
    is_plain_word(path)
        && path.split('/').all(|name| !matches!(name, "" | "." | "..") && !is_git(name.as_bytes()))
}

/// Returns whether this is a URL with a scheme that only fetches, `user@host:path`, or a relative one.
/// `ext::` runs a program, and what begins with a dash is an option.
fn is_plain_url(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let has_known = scheme.is_none_or(|scheme| matches!(scheme, "https" | "http" | "ssh" | "git"));
    is_plain_word(url) && has_known && !url.contains("::") && !url.contains("/-") && !url.contains("@-")
}

fn is_plain_word(word: &str) -> bool {
    let is_plain =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@' | ':' | '~' | '+');
    !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain)
}
