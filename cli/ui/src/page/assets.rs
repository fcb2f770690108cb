//! The page's files, which are in the program.

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name below the page's folder.
    pub name: &'static str,
    /// Its `Content-Type`.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($name:literal, $file:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("../../static/", $file)) }
    };
}

/// Every file of the page.
pub const ASSETS: [Asset; 13] = [
    asset!("", "index.html", HTML),
    asset!("style.css", "style.css", CSS),
    asset!("parts.css", "parts.css", CSS),
    asset!("main.js", "main.js", SCRIPT),
    asset!("api.js", "api.js", SCRIPT),
    asset!("dom.js", "dom.js", SCRIPT),
    asset!("plot.js", "plot.js", SCRIPT),
    asset!("overview.js", "overview.js", SCRIPT),
    asset!("log.js", "log.js", SCRIPT),
    asset!("difference.js", "difference.js", SCRIPT),
    asset!("pushes.js", "pushes.js", SCRIPT),
    asset!("changes.js", "changes.js", SCRIPT),
    asset!("machine.js", "machine.js", SCRIPT),
];

/// Returns the file with this name.
pub fn find(name: &str) -> Option<Asset> {
    ASSETS.into_iter().find(|asset| asset.name == name)
}
