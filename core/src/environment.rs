//! What the agent sees of the doors: environment variables that name them.

use crate::PROXY_NAME;
use crate::doors::Doors;
use crate::sidecar::Sidecar;
use crate::slug::Slug;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

/// Both spellings, because programs differ in which one they read.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
const SLUG_VARIABLE: &str = "BOTTLE_SLUG";

/// The variable in which a sidecar other than the egress proxy is named.
const fn variable(sidecar: Sidecar) -> Option<&'static str> {
    match sidecar {
        Sidecar::Pipelock => None,
        Sidecar::GitGate => Some("BOTTLE_GIT_GATE"),
        Sidecar::Supervise => Some("BOTTLE_SUPERVISE"),
    }
}

/// The URL of a port of `proxy.internal`.
pub fn url(port: u16) -> String {
    format!("http://{PROXY_NAME}:{port}")
}

/// Whether bottle itself sets this variable, so that nobody else may.
pub fn is_reserved(name: &str) -> bool {
    PROXY_VARIABLES.contains(&name)
        || NO_PROXY_VARIABLES.contains(&name)
        || name == SLUG_VARIABLE
        || Sidecar::ALL.into_iter().any(|s| variable(s) == Some(name))
}

/// The variables that bottle sets in a guest: the proxy's, and one for each other active sidecar.
pub fn variables(slug: &Slug, doors: &Doors) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for name in PROXY_VARIABLES {
        env.insert(name.to_string(), url(doors.pipelock()));
    }
    for name in NO_PROXY_VARIABLES {
        // The doors are reached directly: a request for one of them through another is a detour.
        env.insert(name.to_string(), format!("localhost,127.0.0.1,::1,{PROXY_NAME}"));
    }
    env.insert(SLUG_VARIABLE.to_string(), slug.to_string());
    for (sidecar, port) in doors.iter() {
        if let Some(name) = variable(sidecar) {
            env.insert(name.to_string(), url(port));
        }
    }
    env
}
