//! Checks everything about a start that can be checked before anything changes.
//!
//! `check`, `plan`, `up`, `run` and `restart` share these checks. If `plan` finds nothing, `up` can only fail
//! because something changed meanwhile, or because this machine lacks something, which `bottle doctor` shows.

use super::files::{self, Rendered};
use crate::config::Config;
use crate::config::found::shown;
use crate::config::paths::{Disk, OnDisk};
use crate::config::places::Item;
use crate::image::is_path;
use crate::publish::record as publish;
use crate::resolve::Resolved;
use crate::trust::pins::Pins;
use bottle_core::git::url;
use bottle_core::specification::{Repo, SidecarSpec};
use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home};
use bottle_host::tools::in_path;
use bottle_host::workspace;
use bottle_sidecars::keys;
use std::path::Path;
use std::slice::from_ref;

/// A Unix socket's path holds 107 bytes and a NUL.
const SOCKET_PATH: usize = 107;

/// Checks a start that does not follow, and returns the files that it would write.
///
/// # Errors
/// Returns an error as for [`check_but_paths`], or if a guest can reach a host path.
pub fn check(home: &Home, folder: &Folder, config: &Config, resolved: &Resolved) -> Outcome<Rendered> {
    Pins::check(home, folder.slug(), config, &[])?;
    check_but_paths(folder, config, resolved)
}

/// Checks a start that follows, and returns the files to write. The host paths are not checked here but by
/// [`Pins::admit`], right before they are used.
///
/// # Errors
/// Returns an error if a path is too long, something cannot be rendered, a program is missing, a port to publish
/// at is taken, an approved push would have nowhere to go, or an upstream's key is missing.
pub fn check_but_paths(folder: &Folder, config: &Config, resolved: &Resolved) -> Outcome<Rendered> {
    let longest = folder.control().as_os_str().len();
    if longest > SOCKET_PATH {
        return Err(Failure::new(
            Kind::Unavailable,
            format!("{} is too long for a socket's path", folder.control().display()),
        )
        .help("set BOTTLE_RUNTIME_DIR to a folder with a shorter name"));
    }
    let rendered = files::render(folder, resolved, config)?;
    image(config)?;
    if let Some((project, exclude)) = &resolved.copied {
        workspace::lists(Path::new(project.as_str()), exclude)?;
    }
    programs(config)?;
    publications(folder, config)?;
    resolved.services.git.iter().try_for_each(|repo| gate(repo, config))?;
    if let Some(parent) = &resolved.plan.parent {
        keys::check_logins(parent).map_err(|error| {
            let what = format!("{error:#}");
            config.places.fail(&Item::Parent, Kind::Unavailable, &what).help("nothing was changed")
        })?;
    }
    for upstream in &resolved.plan.upstreams {
        keys::check(from_ref(upstream)).map_err(|error| {
            let item = Item::Upstream(upstream.path.to_string());
            let login = upstream.login_instead().map_or_else(String::new, |login| {
                format!(", or use a subscription (`bottle login {login}`)")
            });
            config.places.fail(&item, Kind::Unavailable, &format!("{error:#}")).help(format!(
                "a key is looked for on this machine when a bottle starts: set it in the environment of this command{login}; nothing was changed"
            ))
        })?;
    }
    Ok(rendered)
}

/// Checks that an image's folder is a root folder. smolvm would boot from anything, and find no program in it.
fn image(config: &Config) -> Outcome {
    let Some(image) = config.guest.image.as_ref().filter(|image| is_path(image)) else { return Ok(()) };
    let folder = Path::new(image.as_str());
    if !folder.join("oci-layout").is_file() {
        return Ok(());
    }
    let what = format!("{} is an OCI layout, and not a root folder", shown(folder));
    Err(config
        .places
        .fail(&Item::Image, Kind::Usage, &what)
        .help(format!("name an archive of it: `tar -C {} -cf image.tar .` makes one", shown(folder))))
}

/// Checks that the programs that serve sidecars exist.
fn programs(config: &Config) -> Outcome {
    for (sidecar, form) in &config.sidecars {
        let SidecarSpec::Command(words) = form else { continue };
        let Some(program) = words.first().filter(|program| !program.contains('{')) else { continue };
        let is_there =
            if program.contains('/') { Path::new(program).exists() } else { in_path(program).is_some() };
        if !is_there {
            let what = format!("the program {program} does not exist");
            return Err(config.places.fail(&Item::Sidecar(*sidecar), Kind::Unavailable, &what).help(
                "install it, or name it with its whole path; a program without one is looked for in PATH",
            ));
        }
    }
    Ok(())
}

/// Checks that nothing else listens on the ports of this machine that the bottle publishes its own at.
fn publications(folder: &Folder, config: &Config) -> Outcome {
    for one in &config.publish {
        publish::check_free(folder, *one).map_err(|error| {
            let what = format!("port {} of this machine's loopback: {error}", one.host);
            config
                .places
                .fail(&Item::Publication(one.guest), Kind::Busy, &what)
                .help("name another `host`, or leave it out, and any free port is taken")
        })?;
    }
    Ok(())
}

/// Checks that approved pushes have somewhere to go, as far as that is on this machine.
fn gate(repo: &Repo, config: &Config) -> Outcome {
    let fail = |what: String| config.places.fail(&Item::Repository(repo.name.clone()), Kind::Usage, &what);
    let upstream = Line(&repo.upstream);
    let Some(location) = &repo.url else {
        return Err(fail(format!(
            "{} has no remote `{upstream}`: an approved push would have nowhere to go",
            repo.path
        ))
        .help(format!(
            "add it: `git -C {} remote add {upstream} URL`; `upstream = \"...\"` in [[git-gate.repo]] names another remote or a URL",
            repo.path
        )));
    };
    let Some(path) = url::local(location) else { return Ok(()) };
    let help =
        "`git init --bare` makes an empty one; `upstream = \"...\"` in [[git-gate.repo]] names another";
    let shown = Line(path);
    if !Path::new(path).exists() {
        return Err(fail(format!("the upstream of {}, {shown}, is not there", repo.name)).help(help));
    }
    if !OnDisk.is_repository(Path::new(path)) {
        return Err(
            fail(format!("the upstream of {}, {shown}, is not a git repository", repo.name)).help(help)
        );
    }
    Ok(())
}
