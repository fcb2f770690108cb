//! The environment variables that tell the agent where the doors are.

use crate::PROXY_NAME;
use crate::doors::Doors;
use crate::sidecar::Sidecar;
use crate::slug::Slug;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

/// Both spellings: programs differ in which one they read.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
const SLUG_VARIABLE: &str = "BOTTLE_SLUG";

/// Returns the variable that names this sidecar's URL. The egress proxy has variables of its own.
const fn variable(sidecar: Sidecar) -> Option<&'static str> {
    match sidecar {
        Sidecar::Pipelock => None,
        Sidecar::GitGate => Some("BOTTLE_GIT_GATE"),
        Sidecar::Supervise => Some("BOTTLE_SUPERVISE"),
    }
}

/// Returns the URL of a port of `proxy.internal`.
pub fn url(port: u16) -> String {
    format!("http://{PROXY_NAME}:{port}")
}

/// Returns whether bottle itself sets this variable. Nobody else may set it then.
pub fn is_reserved(name: &str) -> bool {
    PROXY_VARIABLES.contains(&name)
        || NO_PROXY_VARIABLES.contains(&name)
        || name == SLUG_VARIABLE
        || Sidecar::ALL.into_iter().any(|s| variable(s) == Some(name))
}

/// Returns the variables that bottle sets in a guest: those of the egress proxy, and one for each other
/// active sidecar.
pub fn variables(slug: &Slug, doors: &Doors) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for name in PROXY_VARIABLES {
        env.insert(name.to_string(), url(doors.pipelock()));
    }
    for name in NO_PROXY_VARIABLES {
        // Programs reach the doors directly: going through one of them to another would be a detour.
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
