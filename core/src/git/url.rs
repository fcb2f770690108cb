//! The URLs of upstreams, as git reads them.

/// Returns whether this is a path or a URL, and not the name of a remote.
pub fn is_location(text: &str) -> bool {
    text.starts_with(['/', '.']) || text.contains("://") || is_scp(text)
}

/// Checks that git may push to this URL. It must not be an option, run a command of its own choice (`ext::`,
/// `fd::`), or look like something else.
///
/// # Errors
/// Returns what is wrong with it.
pub fn check(url: &str) -> Result<(), &'static str> {
    if url.is_empty() || url.starts_with('-') {
        return Err("is not a URL");
    }
    if url.chars().any(|c| c.is_control() || crate::visible::is_hidden(c)) {
        return Err("contains invisible characters");
    }
    let helper = url.split_once("::").map(|(helper, _)| helper);
    if matches!(helper, Some("ext" | "fd")) {
        return Err("would run a command of its own choice");
    }
    if url.starts_with("file://") && url.contains('%') {
        return Err("is a path with percent-encoded characters; write it without them");
    }
    Ok(())
}

/// Returns the path if the URL is one on this machine. There git runs with that repository's own
/// configuration and hooks.
pub fn local(url: &str) -> Option<&str> {
    if let Some(path) = url.strip_prefix("file://") {
        return Some(path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path));
    }
    (!url.contains("://") && !is_scp(url)).then_some(url)
}

/// Returns whether this is `host:path`, which has a colon before the first slash.
fn is_scp(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
}
