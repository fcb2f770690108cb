//! The structure that ARCHITECTURE.md describes is the structure that is there: crates depend on each
//! other in one direction, and no file uses a file that uses it.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use syn::visit::{self, Visit};

/// Which of our crates each crate may use.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("bottle-core", &[]),
    ("bottle-guest", &["bottle-core"]),
    ("bottle-host", &["bottle-core", "bottle-guest"]),
    ("bottle-images", &["bottle-core", "bottle-host"]),
    ("bottle-sidecars", &["bottle-core", "bottle-guest", "bottle-host"]),
    ("bottle-keeper", &["bottle-core", "bottle-guest", "bottle-host", "bottle-sidecars"]),
    ("bottle-verify", &["bottle-core", "bottle-guest", "bottle-host"]),
    ("bottle-ssh", &["bottle-core", "bottle-guest", "bottle-host"]),
    ("bottle-ui", &["bottle-core", "bottle-host"]),
    (
        "bottle",
        &[
            "bottle-core",
            "bottle-guest",
            "bottle-host",
            "bottle-images",
            "bottle-keeper",
            "bottle-sidecars",
            "bottle-ssh",
            "bottle-ui",
            "bottle-verify",
        ],
    ),
];

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    for (name, package) in packages() {
        let Some((_, may_use)) = MAY_USE.iter().find(|(known, _)| *known == name) else { continue };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let is_ours = used == "bottle" || used.starts_with("bottle-");
            assert!(
                !is_ours || dependency["kind"] == "dev" || may_use.contains(&used),
                "{name} must not depend on {used}: the direction is bottle -> {{keeper, verify}} -> sidecars \
                 -> host -> core, so move what {name} needs of it down, or decide it in core"
            );
        }
    }
}

#[test]
fn every_crate_of_the_command_has_its_place_in_the_direction() {
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for (name, package) in packages() {
        let is_the_commands = package["manifest_path"].as_str().unwrap().contains("/cli/");
        assert!(!is_the_commands || known.contains(name.as_str()), "{name} is in no line of MAY_USE");
    }
}

#[test]
fn no_file_uses_a_file_that_uses_it() {
    let mut circles = String::new();
    for (name, package) in packages().into_iter().filter(|(name, _)| name != "bottle-tests") {
        let source = Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("src");
        let files = modules(&source);
        let uses: BTreeMap<&String, BTreeSet<String>> =
            files.iter().map(|(module, path)| (module, uses(module, path, &files))).collect();
        for (module, used) in &uses {
            for back in used.iter().filter(|used| reaches(&uses, used, module)) {
                circles.push_str(&format!("\n  {name}: {module} uses {back}, which leads back to it"));
            }
        }
    }
    assert!(circles.is_empty(), "move what both need into a file of its own:{circles}");
}

/// Our packages by name, as cargo describes them.
fn packages() -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap().to_owned(), package.clone())).collect()
}

/// The modules of a crate that have files of their own, by path: `crate::git::child`.
fn modules(source: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(source.to_owned(), "crate".to_owned())];
    while let Some((folder, module)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push((path, format!("{module}::{stem}")));
            } else if path.extension() == Some("rs".as_ref()) {
                match stem.as_str() {
                    "lib" | "mod" => _ = found.insert(module.clone(), path),
                    // A program's own file uses its library and is used by nobody.
                    "main" => {}
                    _ => _ = found.insert(format!("{module}::{stem}"), path),
                }
            }
        }
    }
    found
}

/// The modules with files of their own that a file uses. Declaring and re-exporting a child is using it.
fn uses(module: &str, path: &Path, files: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut paths = Paths::default();
    paths.visit_file(&file);
    paths.0.iter().filter_map(|path| resolve(module, path, files)).filter(|used| used != module).collect()
}

/// The deepest module with a file that a path leads through.
fn resolve(module: &str, path: &[String], files: &BTreeMap<String, PathBuf>) -> Option<String> {
    let mut base = module.to_owned();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (base, rest) = ("crate".to_owned(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                base.truncate(base.rfind("::")?);
                rest = &rest[1..];
            }
        }
        child if files.contains_key(&format!("{module}::{child}")) => {}
        _ => return None,
    }
    let mut deepest = files.contains_key(&base).then(|| base.clone());
    for word in rest {
        base = format!("{base}::{word}");
        if files.contains_key(&base) {
            deepest = Some(base.clone());
        }
    }
    deepest
}

fn reaches(uses: &BTreeMap<&String, BTreeSet<String>>, from: &String, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            next.extend(uses.get(module).into_iter().flatten());
        }
    }
    false
}

/// Every path in a file, its tests left out.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.0.push(with(&name.ident)),
            syn::UseTree::Rename(rename) => self.0.push(with(&rename.ident)),
            syn::UseTree::Glob(_) => self.0.push(before.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| match &attribute.meta {
            syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
            _ => false,
        };
        if !item.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}
