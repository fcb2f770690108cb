//! Determines what can be served of a repository and where its pushes go, before a bottle starts.

use super::pin::{Pin, is_writable_by_guest, overlap, real, recorded_writable, was_writable_by_guest};
use super::quarantine::Quarantine;
use super::source::{Configuration, Quoted, Served, Source, Unservable};
use bottle_core::git::url;
use bottle_core::plan::Volume;
use bottle_core::specification::Repo;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::Folder;
use std::path::Path;

/// Determines a repository's upstream, and whether a guest with these volumes could write to the repository.
///
/// # Errors
/// Returns [`Kind::Usage`] if the upstream itself is in such a folder: git would run its hooks here.
pub fn resolve(repo: &Repo, folder: &Folder, volumes: &[Volume]) -> Outcome<Repo> {
    let mut repo = repo.clone();
    // This holds even if a person insists on sharing it: the guest could change what is being judged.
    let store = real(&folder.git());
    if let Some(volume) = volumes.iter().find(|volume| overlap(Path::new(volume.host.as_str()), &store)) {
        return Err(Failure::new(
            Kind::Usage,
            format!("{} holds git-gate's quarantine, which must not be shared with a guest", volume.host),
        )
        .help("share another folder, or set BOTTLE_STATE_DIR to one that is not shared"));
    }
    let path = repo.path.clone();
    let (path, git) = (Path::new(&path), Path::new(&path).join(".git"));
    let source = Source::open(path);
    let writable = |place: &Path| {
        let hosts = volumes.iter().filter(|volume| volume.writable);
        hosts.map(|volume| Path::new(volume.host.as_str())).any(|host| overlap(host, place))
    };
    repo.writable = match &source {
        Ok(source) => writable(source.path()) || writable(&git),
        Err(_) => writable(path),
    };
    let recorded_writable = recorded_writable(folder)?;
    let was_writable = |place: &Path| was_writable_by_guest(&recorded_writable, place);
    repo.exposed = match &source {
        Ok(source) => was_writable(source.path()) || was_writable(&git),
        Err(_) => was_writable(path),
    };
    let pin = Pin::read(folder, path)?;
    let known = Quarantine::of(folder, &repo).is_complete();
    let own_reach = repo.writable || repo.exposed || pin.exposed;
    let configuration = match &source {
        Ok(source) => {
            let reach = |place: &Path| {
                let own = own_reach && place == source.path();
                Ok(own || writable(place) || is_writable_by_guest(folder, place)?)
            };
            let checked = source.configuration().and_then(|configuration| {
                let whole = Defence::GitConfig.stands();
                let served = whole.then(|| source.check(path, &configuration, &reach)).transpose()?;
                Ok((configuration, served.unwrap_or_default()))
            });
            match checked {
                Ok((configuration, Served { notes, .. })) => {
                    notes.iter().for_each(|note| out::note(format_args!("{}: {note}", repo.name)));
                    Some(configuration)
                }
                Err(error) if known => {
                    goes_on(&repo, &error);
                    source.configuration().ok()
                }
                Err(error) => return Err(refused(&repo, &error)),
            }
        }
        Err(error) if known || !Defence::GitConfig.stands() => {
            goes_on(&repo, error);
            None
        }
        Err(error) => return Err(refused(&repo, error)),
    };
    repo.url = if url::is_location(&repo.upstream) {
        Some(repo.upstream.clone())
    } else {
        let says = configuration.as_ref().and_then(|configuration| remote(configuration, &repo));
        let url = recorded(&repo, &pin, says.clone());
        if let (None, None, Some(configuration), false) = (&url, &says, &configuration, known) {
            return Err(without_remote(&repo, configuration));
        }
        if let (Some(says), Some(configuration)) = (&says, &configuration)
            && url.as_ref() == Some(says)
            && !(pin.exposed || repo.exposed)
        {
            check_rewritten(&repo, configuration, says)?;
        }
        url
    };
    let Some(place) = repo.url.take() else { return Ok(repo) };
    let usage = |what: String| Failure::new(Kind::Usage, what);
    url::check(&place)
        .map_err(|why| usage(format!("the upstream of {} {why}: {}", repo.name, Line(&place))))?;
    // A relative path is relative to the repository.
    let absolute = match url::local(&place) {
        Some(path) if !place.starts_with("file:") => {
            real(&Path::new(&repo.path).join(path)).display().to_string()
        }
        _ => place,
    };
    if Defence::GitUpstream.stands()
        && let Some(path) = url::local(&absolute)
        && let real = real(Path::new(path))
        && let now = writable(&real)
        && (now || was_writable(&real))
    {
        return Err(usage(format!(
            "the upstream of {}, {}, is in a folder that {} write",
            repo.name,
            real.display(),
            if now { "the guest can" } else { "a guest could" }
        ))
        .help("git would run the upstream's hooks on this machine: move it elsewhere, or share that folder read-only"));
    }
    repo.url = Some(absolute);
    Ok(repo)
}

/// Returns the recorded upstream if a guest could have changed what the repository says.
fn recorded(repo: &Repo, pin: &Pin, says: Option<String>) -> Option<String> {
    if !(pin.exposed || repo.exposed) || !Defence::GitUpstream.stands() {
        return says;
    }
    let Some(was) = pin.remotes.get(&repo.upstream) else {
        if let Some(says) = says {
            out::note(format_args!(
                "{} of {} is {}, and a guest could have written that: nothing is pushed there; \
                 set `upstream = \"...\"` in bottle.toml to say where pushes go",
                Line(&repo.upstream),
                repo.path,
                Line(&says)
            ));
        }
        return None;
    };
    // The recorded path is absolute, and the repository's may be relative.
    let same = says.as_ref().is_some_and(|says| {
        says == was
            || url::local(says).is_some_and(|path| real(&Path::new(&repo.path).join(path)) == Path::new(was))
    });
    if !same {
        out::note(format_args!(
            "{} of {} was {} before a guest could write to it, and is {} now: bottle goes on using the former; \
             set `upstream = \"...\"` in bottle.toml to change that",
            Line(&repo.upstream),
            repo.path,
            Line(was),
            says.as_deref().map_or_else(|| "gone".to_owned(), |says| Line(says).to_string())
        ));
    }
    Some(was.clone())
}

/// Notes that a repository can no longer be read. Its quarantine is intact, and a person may still want to
/// see the pushes waiting there.
fn goes_on(repo: &Repo, error: &anyhow::Error) {
    out::note(format_args!(
        "{}: git-gate keeps serving its current quarantine, because {}",
        repo.name,
        Line(&format!("{error:#}"))
    ));
}

/// Returns the failure for a repository that cannot be served.
fn refused(repo: &Repo, error: &anyhow::Error) -> Failure {
    let failure =
        |what: &str| Failure::new(Kind::Usage, format!("git-gate cannot serve {}: {what}", repo.name));
    match error.downcast_ref::<Unservable>() {
        Some(Unservable { what, help }) => failure(what).help(help.clone()),
        None => failure(&Line(&format!("{error:#}")).to_string()),
    }
}

fn without_remote(repo: &Repo, configuration: &Configuration) -> Failure {
    let mut others: Vec<&str> = configuration.below("remote", "url").map(|(name, _)| name).collect();
    others.sort_unstable();
    others.dedup();
    if others.contains(&repo.upstream.as_str()) {
        let what = format!("the remote {:?} of {} has an empty URL", repo.upstream, repo.path);
        let (path, name) = (Quoted(&repo.path), Line(&repo.upstream));
        return Failure::new(Kind::Usage, what)
            .help(format!("`git -C {path} remote set-url {name} URL` gives it one"));
    }
    let what = format!("{} has no remote {:?}, so nothing says where pushes go", repo.path, repo.upstream);
    let write =
        |upstream: &str| format!("`upstream = \"{upstream}\"` below [[git-gate.repo]] in bottle.toml");
    Failure::new(Kind::Usage, what).help(match others.as_slice() {
        [] => format!(
            "add it with `git -C {} remote add {} URL`, or write {}",
            Quoted(&repo.path),
            Line(&repo.upstream),
            write("URL")
        ),
        [first, ..] => {
            let others: Vec<String> = others.iter().map(|name| Line(name).to_string()).collect();
            format!("its remotes are {}: write {}", others.join(", "), write(&Line(first).to_string()))
        }
    })
}

/// Refuses a URL that the repository's own configuration would rewrite. Pushes only use the operator's global
/// configuration, so they would go elsewhere.
fn check_rewritten(repo: &Repo, configuration: &Configuration, url: &str) -> Outcome {
    for name in ["pushinsteadof", "insteadof"] {
        for (base, short) in configuration.below("url", name) {
            if let Some(rest) = url.strip_prefix(short).filter(|_| !short.is_empty()) {
                return Err(Failure::new(
                    Kind::Usage,
                    format!(
                        "{} rewrites {} in its own configuration (`url.{}.insteadOf`), which bottle does not use",
                        repo.path,
                        Line(url),
                        Line(base)
                    ),
                )
                .help(format!(
                    "write `upstream = \"{}\"` below [[git-gate.repo]] in bottle.toml",
                    Line(&format!("{base}{rest}"))
                )));
            }
        }
    }
    Ok(())
}

/// Returns where pushes to a remote go according to the repository's own configuration.
fn remote(configuration: &Configuration, repo: &Repo) -> Option<String> {
    let name = &repo.upstream;
    for key in ["pushurl", "url"].map(|key| format!("remote.{name}.{key}")) {
        let mut urls = configuration.all(&key).filter(|url| !url.is_empty());
        if let Some(url) = urls.next() {
            if urls.next().is_some() {
                out::note(format_args!(
                    "{}: {} has several URLs, and pushes go to the first alone: {}",
                    repo.name,
                    Line(name),
                    Line(url)
                ));
            }
            return Some(url.to_owned());
        }
    }
    None
}
