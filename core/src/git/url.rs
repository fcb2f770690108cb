//! Where an upstream is, as git reads it.

/// Whether this is a place by itself, and not the name of a remote.
pub fn is_place(text: &str) -> bool {
    text.starts_with(['/', '.']) || text.contains("://") || is_scp(text)
}

/// Whether git may be given this to push to: no option, nothing that runs a command of the URL's own
/// choice (`ext::`, `fd::`), no line that looks like another.
///
/// # Errors
/// What is wrong with it.
pub fn check(url: &str) -> Result<(), &'static str> {
    if url.is_empty() || url.starts_with('-') {
        return Err("is no URL");
    }
    if url.chars().any(|c| c.is_control() || crate::visible::is_hidden(c)) {
        return Err("holds characters that cannot be seen");
    }
    let helper = url.split_once("::").map(|(helper, _)| helper);
    if matches!(helper, Some("ext" | "fd")) {
        return Err("would run a command of its own");
    }
    if url.starts_with("file://") && url.contains('%') {
        return Err("is a path in another form than its own");
    }
    Ok(())
}

/// The path that it is, where it is one of this machine's: there git runs with that repository's own
/// configuration and hooks.
pub fn local(url: &str) -> Option<&str> {
    if let Some(path) = url.strip_prefix("file://") {
        return Some(path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path));
    }
    (!url.contains("://") && !is_scp(url)).then_some(url)
}

/// `host:path`: a colon before the first slash.
fn is_scp(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
}
