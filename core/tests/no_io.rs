//! Checks that the core does no I/O, and what the core and the guest helper are built from.
//!
//! The core is `no_std`, so its own code cannot name a file, a socket, a process, a clock or the
//! environment. What it depends on is listed here and searched for the same words.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this test is not part of the core, and reads its sources"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The packages that the core may be built from. Macros run at build time and are not among them.
const ALLOWED: &[&str] = &[
    "annotate-snippets",
    "anstyle",
    "arraydeque",
    "base64",
    "block-buffer",
    "bottle-core",
    "cfg-if",
    "core_detect",
    "cpufeatures",
    "crypto-common",
    "digest",
    "encoding_rs",
    "encoding_rs_io",
    "granit-parser",
    "hybrid-array",
    "nohash-hasher",
    "num-traits",
    "scopeguard",
    "serde",
    "serde-saphyr",
    "serde_core",
    "serde_spanned",
    "sha2",
    "simdutf8",
    "smallvec",
    "thiserror",
    "toml",
    "toml_datetime",
    "toml_parser",
    "toml_writer",
    "tinyvec",
    "typenum",
    "unicode-normalization",
    "unicode-width",
    "winnow",
    "zmij",
    "libc",
];

/// The packages that the guest helper may be built from. It is one small static program, and everything in
/// it runs as root in the guest.
const HELPER: &[&str] = &[
    "anyhow",
    "bitflags",
    "bottle-core",
    "bottle-guest",
    "cfg-if",
    "errno",
    "filetime",
    "itoa",
    "lexopt",
    "libc",
    "linux-raw-sys",
    "log",
    "memchr",
    "mio",
    "netlink-packet-core",
    "netlink-packet-route",
    "pin-project-lite",
    "rustix",
    "serde",
    "serde_core",
    "serde_json",
    "signal-hook",
    "signal-hook-registry",
    "socket2",
    "tar",
    "tokio",
    "zerocopy",
    "zmij",
];

/// The system whose tree is checked. On another one the tree may differ.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Ways to the outside.
const FORBIDDEN: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::process",
    "std::os::unix::net",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "std::env::var",
];

/// Files that name a way out but are not compiled into the core, because something that enables them is off.
const NOT_COMPILED: &[(&str, &str)] = &[
    ("serde-saphyr-", "/src/de/figment.rs"),           // feature "figment"
    ("serde-saphyr-", "/src/de/figment2.rs"),          // feature "figment2"
    ("serde-saphyr-", "/src/de/safe_resolver.rs"),     // feature "include_fs"
    ("serde-saphyr-", "/src/main.rs"),                 // its own program
    ("serde-saphyr-", "/src/cli.rs"),                  // its own program
    ("winnow-", "/src/combinator/debug/internals.rs"), // feature "debug"
];

/// Returns the names and versions of everything that a package of ours is built from, itself included.
fn linked(package: &str) -> BTreeSet<(String, String)> {
    let output = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["tree", "--locked", "--offline", "--target", HOST, "-p", package])
        .args(["-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let packages = lines.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
    });
    packages.collect()
}

/// Returns the packages that the core is built from, with the folders where cargo unpacked their sources.
fn tree() -> Vec<(String, PathBuf)> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).expect("a home");
    let registries: Vec<PathBuf> = fs::read_dir(home.join("registry/src"))
        .expect("cargo's sources")
        .flatten()
        .map(|e| e.path())
        .collect();
    let found = linked("bottle-core").into_iter().map(|(name, version)| {
        let own = (name == "bottle-core").then(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let fetched =
            || registries.iter().map(|r| r.join(format!("{name}-{version}"))).find(|dir| dir.is_dir());
        let folder = own.or_else(fetched).unwrap_or_else(|| panic!("{name} {version} has no sources here"));
        (name, folder)
    });
    found.collect()
}

/// Returns the lines of Rust below a folder that name a way to the outside, without comments and tests.
fn ways_out(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(&*name, "tests" | "test") {
            found.extend(ways_out(&path));
        } else if name.ends_with(".rs") && !name.contains("test") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            // Test modules are at the end of a file.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let outward = lines.filter(|line| FORBIDDEN.iter().any(|word| line.contains(word)));
            found.extend(outward.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    found
}

#[test]
fn the_core_depends_on_nothing_that_does_io() {
    let tree = tree();
    assert!(tree.iter().any(|(name, _)| name == "bottle-core") && tree.len() > 10, "{tree:?}");
    let unknown: Vec<&String> =
        tree.iter().map(|(name, _)| name).filter(|name| !ALLOWED.contains(&name.as_str())).collect();
    assert!(
        unknown.is_empty(),
        "the core would be built from these, which are new: read and list them, or do without: {unknown:?}"
    );
    let compiled = |line: &String| {
        let known =
            |(package, file): &(&str, &str)| line.contains(package) && line.contains(&format!("{file}: "));
        !NOT_COMPILED.iter().any(known)
    };
    let outward = tree.iter().flat_map(|(_, folder)| ways_out(&folder.join("src"))).filter(compiled);
    let outward: Vec<String> = outward.collect();
    assert!(outward.is_empty(), "{outward:#?}");
}

#[test]
fn the_helper_links_only_what_is_listed() {
    let linked: BTreeSet<String> = linked("bottle-guest").into_iter().map(|(name, _)| name).collect();
    for name in &linked {
        assert!(
            HELPER.contains(&name.as_str()),
            "the guest helper links {name}, which is new: read it and list it in HELPER, or do without it"
        );
    }
    for name in HELPER {
        assert!(linked.contains(*name), "the guest helper no longer links {name}: take it off HELPER");
    }
}

#[test]
fn the_core_is_no_std() {
    let lib = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).expect("lib.rs");
    assert!(lib.contains("\n#![no_std]\n") && lib.contains("\n#![forbid(unsafe_code)]\n"));
    assert!(!lib.contains("extern crate std"));
}

/// Shows clippy a crate that names some of what the core must not, with the core's configuration.
#[test]
fn clippy_refuses_what_the_core_must_not_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/clippy.toml"), folder.path().join("clippy.toml"))
        .expect("clippy.toml");
    write("Cargo.toml", "[package]\nname = \"outward\"\nedition = \"2024\"\n[workspace]\n");
    write(
        "src/lib.rs",
        "pub fn f() -> Option<std::fs::File> { let _ = std::env::var(\"A\"); None }\npub fn g() -> std::time::Instant { std::time::Instant::now() }\n",
    );
    let output = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["clippy", "--quiet", "--offline", "--", "-D", "warnings"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for word in ["std::fs::File", "std::env::var", "std::time::Instant"] {
        assert!(said.contains(&format!("`{word}`")), "{word}: {said}");
    }
}

/// The check can fail: it sees each way out, and ignores comments and tests.
#[test]
fn the_check_sees_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| fs::write(folder.path().join("lib.rs"), text).expect("a file");
    for word in FORBIDDEN {
        write(&format!("fn f() {{ let _ = {word}::x(); }}\n"));
        assert_eq!(ways_out(folder.path()).len(), 1, "{word}");
    }
    write("// std::fs\nfn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n");
    assert!(ways_out(folder.path()).is_empty());
}
