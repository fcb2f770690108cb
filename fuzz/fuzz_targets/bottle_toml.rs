//! Trust boundary: bottle.toml, which a guest may have written.
//! Property: it is refused in a sentence that names the file, or gives a configuration that resolves
//! to a plan whose Smolfile and gvproxy configuration read back equal. Nothing panics.
#![no_main]

use bottle::config::paths::{Disk, Site};
use bottle::config::sensitive::{Scope, Sensitive};
use bottle::config::{Source, parse};
use bottle::resolve::resolve;
use bottle_host::state::Home;
use bottle_core::gvproxy::Config;
use bottle_core::stack::dialect::Dialect;
use bottle_core::plan::Plan;
use bottle_core::smolfile::Smolfile;
use bottle_core::specification::{SidecarSpec, StackChoice};
use bottle_core::stack::Stack;
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};

/// A disk on which everything is there.
struct Everything;

impl Disk for Everything {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path))
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn is_repository(&self, _: &Path) -> bool {
        true
    }

    fn sensitive(&self) -> Vec<Sensitive> {
        vec![
            Sensitive { path: "/home/me".into(), what: "your home folder", scope: Scope::Whole },
            Sensitive { path: "/home/me/.ssh".into(), what: "your keys", scope: Scope::Everything },
        ]
    }
}

fuzz_target!(|text: &str| {
    let source = Source::new(Path::new("bottle.toml"), text);
    let site = Site { project: Some("/home/me/project".into()), disk: &Everything, insisted: false };
    let config = match parse(&source, &site) {
        Ok(config) => config,
        Err(failure) => {
            assert!(failure.to_string().starts_with("error: bottle.toml"), "{failure}");
            return;
        }
    };
    // Unless the file itself says so.
    assert!(
        !config.allow_sensitive.is_empty()
            || config.guest.volumes.iter().all(|volume| !"/home/me/.ssh".starts_with(volume.host.as_str()))
    );
    // A program that the keeper would start needs a port that is free here, which is not asked.
    if config.sidecars.values().any(|form| matches!(form, SidecarSpec::Command(_))) {
        return;
    }
    let slug = config.slug.clone().unwrap_or_else(|| "s".parse().unwrap());
    let home = Home::at("/nowhere/state".into(), "/nowhere/run".into());
    let stack = match config.stack {
        StackChoice::Auto | StackChoice::Gvproxy => Stack::Gvproxy(Dialect::File),
        StackChoice::Sockets => Stack::Sockets,
    };
    let Ok(resolved) = resolve(&slug, &config, stack, &home, None) else { return };
    let json = serde_json::to_string(&resolved.plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), resolved.plan);
    let smolfile = Smolfile::for_plan(&resolved.plan, &"/helper".parse().unwrap());
    assert_eq!(Smolfile::parse(&smolfile.render().unwrap()).unwrap(), smolfile);
    let gvproxy = Config::for_plan(&resolved.plan, "/run/bottle/link.sock");
    assert_eq!(Config::parse(&gvproxy.render().unwrap()).unwrap(), gvproxy);
});
