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
/// Java's own.
const JAVA: &str = "JAVA_TOOL_OPTIONS";
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
        || name == SLUG_VARIABLE
        || Sidecar::ALL.into_iter().any(|s| variable(s) == Some(name))
}

/// Returns whether what a person says in this variable is added to what bottle says in it.
pub fn is_added_to(name: &str) -> bool {
    NO_PROXY_VARIABLES.contains(&name) || name == JAVA
}

/// Adds what a person says in such a variable: hosts that are not asked through a proxy, or options of Java, of which the
/// last one counts.
pub fn add(env: &mut BTreeMap<String, String>, name: &str, value: &str) {
    if name == JAVA {
        let known = env.entry(JAVA.to_string()).or_default();
        *known = format!("{known} {value}").trim().to_string();
    } else {
        add_no_proxy(env, value);
    }
}

fn add_no_proxy(env: &mut BTreeMap<String, String>, hosts: &str) {
    for name in NO_PROXY_VARIABLES {
        let known = env.entry(name.to_string()).or_default();
        for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            if !known.split(',').any(|known| known == host) {
                if !known.is_empty() {
                    known.push(',');
                }
                known.push_str(host);
            }
        }
    }
}

/// Returns the variables that bottle sets in a guest: those of the egress proxy, and one for each other
/// active sidecar. Programs that need more than the usual variables get theirs; a configuration may set those
/// ([`is_reserved`]).
pub fn variables(slug: &Slug, doors: &Doors) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for name in PROXY_VARIABLES {
        env.insert(name.to_string(), url(doors.pipelock()));
    }
    for name in NO_PROXY_VARIABLES {
        // Programs reach the doors directly: going through one of them to another would be a detour.
        env.insert(name.to_string(), format!("localhost,127.0.0.1,::1,{PROXY_NAME}"));
    }
    // Node's own `fetch` reads the proxy variables only if it is told to (Node 24).
    env.insert("NODE_USE_ENV_PROXY".to_string(), "1".to_string());
    // Java reads none of them.
    let port = doors.pipelock();
    let java = ["http", "https"]
        .map(|scheme| format!("-D{scheme}.proxyHost={PROXY_NAME} -D{scheme}.proxyPort={port}"));
    let direct = format!("-Dhttp.nonProxyHosts=localhost|127.*|[::1]|{PROXY_NAME}");
    env.insert(JAVA.to_string(), format!("{} {} {direct}", java[0], java[1]));
    env.insert(SLUG_VARIABLE.to_string(), slug.to_string());
    for (sidecar, port) in doors.iter() {
        if let Some(name) = variable(sidecar) {
            env.insert(name.to_string(), url(port));
        }
    }
    env
}
