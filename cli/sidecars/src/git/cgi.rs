//! One request, handed to `git http-backend` (RFC 3875: what it is about in the environment, its body
//! on standard input, the answer on standard output).
//!
//! The keeper reads the request and passes on its body and the answer ([`answer`]); git is started by
//! the starter ([`command`]), which is told a few words of the request and nothing else.

use super::child::{Git, Limits};
use super::quarantine::Quarantine;
use super::{Gate, Repo, hook};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bottle_core::visible::Bytes as Shown;
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::starter::{Alive, Ask, GitCall, GitService};
use bottle_host::state::Folder;
use futures_util::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

type Body = BoxBody<Bytes, std::io::Error>;
/// Whether a header's value is one that git may see.
type Known = fn(&str) -> bool;

/// The longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
/// The longest value of a request that git is told, in bytes.
const MAX_VALUE: usize = 1024;
/// What a smart client asks for, and the only things that are served.
const SERVICES: [&str; 2] = ["git-upload-pack", "git-receive-pack"];
const REFS: &str = "info/refs";
/// How much a client may say beside what it pushes: names of refs that it has and wants.
const MAX_WORDS: u64 = 8 << 20;
/// How much one request leaves in the log, and how long the log may become, in bytes.
const MAX_COMPLAINT: u64 = 16 << 10;
const MAX_LOG: u64 = 4 << 20;
/// How long git may take to end by itself once nobody reads its answer.
const GRACE: Duration = Duration::from_secs(2);

/// Answers a request for a repository.
pub async fn answer(gate: &Arc<Gate>, request: Request<Incoming>) -> Response<Body> {
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let Some((repo, service)) = find(&gate.repos, &path) else {
        let names: Vec<String> = gate.repos.iter().map(|repo| format!("\n  /{}.git", repo.name)).collect();
        return text(
            StatusCode::NOT_FOUND,
            format!("bottle: this is git-gate; its repositories are:{}", names.concat()),
        );
    };
    let service = match (service, query.as_str()) {
        (REFS, "service=git-upload-pack") => GitService::FetchRefs,
        (REFS, "service=git-receive-pack") => GitService::PushRefs,
        (REFS, _) => {
            return text(
                StatusCode::FORBIDDEN,
                "bottle: git-gate speaks git's smart protocol only".to_owned(),
            );
        }
        ("git-upload-pack", _) => GitService::Fetch,
        _ => GitService::Push,
    };
    let wanted = if matches!(service, GitService::FetchRefs | GitService::PushRefs) {
        Method::GET
    } else {
        Method::POST
    };
    if request.method() != wanted {
        return text(StatusCode::METHOD_NOT_ALLOWED, format!("bottle: this is asked with {wanted}"));
    }
    let pushes = matches!(service, GitService::Push);
    let most = MAX_WORDS + if pushes { u64::from(repo.policy.max_mib) << 20 } else { 0 };
    if request.body().size_hint().lower() > most && Defence::GitLimits.stands() {
        return text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("bottle: a push holds at most {} MiB here (max_mib)", repo.policy.max_mib),
        );
    }
    backend(gate, repo, service, most, request).await.unwrap_or_else(|error| {
        out::note(format_args!("git-gate: {error:#}"));
        text(StatusCode::BAD_GATEWAY, "bottle: git-gate could not run git".to_owned())
    })
}

/// The repository and the service of a path like `/name.git/git-upload-pack`.
fn find<'g, 'p>(repos: &'g [Repo], path: &'p str) -> Option<(&'g Repo, &'p str)> {
    let (name, service) = path.strip_prefix('/')?.split_once(".git/")?;
    let known = service == REFS || SERVICES.contains(&service);
    repos.iter().find(|repo| repo.name.as_str() == name).filter(|_| known).map(|repo| (repo, service))
}

async fn backend(
    gate: &Gate,
    repo: &Repo,
    service: GitService,
    most: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let seats = if matches!(service, GitService::Push) { &gate.pushes } else { &gate.fetches };
    let seat = Arc::clone(seats).acquire_owned().await?;
    let said = |name: &HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let call = GitCall {
        repo: repo.name.clone(),
        service,
        content_type: said(&CONTENT_TYPE),
        content_length: said(&CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        content_encoding: said(&CONTENT_ENCODING),
        protocol: said(&HeaderName::from_static("git-protocol")),
    };
    let (running, descriptors) = gate.starter.start_meanwhile(&Ask::Git(call)).await?;
    let [stdin, stdout, stderr, hooks] = <[OwnedFd; 4]>::try_from(descriptors)
        .map_err(|descriptors| anyhow!("git came with {} descriptors", descriptors.len()))?;
    let stdin = Sender::from_owned_fd(stdin)?;
    let (stdout, complaint) = (Receiver::from_owned_fd(stdout)?, Receiver::from_owned_fd(stderr)?);
    // Where nobody listens to the hooks, they refuse.
    let _ = gate.hooks.send((repo.name.clone(), hooks));
    let mut said = BufReader::new(stdout);
    // Held by the answer's body: dropped when the answer was read whole, or when nobody reads it.
    let (read, over) = oneshot::channel::<()>();
    tokio::spawn(watch(running, over, seat));
    tokio::spawn(feed(request.into_body(), stdin, most));
    tokio::spawn(log(gate.log.clone(), complaint));
    let (status, headers) = head(&mut said).await?;
    let rest = ReaderStream::new(said).map_ok(move |bytes| {
        let _held = &read;
        Frame::data(bytes)
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(rest)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Sees that a git ends: by itself, or when nobody reads its answer any more. Who drops it ends it.
async fn watch(running: Alive, over: oneshot::Receiver<()>, _seat: OwnedSemaphorePermit) {
    tokio::select! {
        _ = running.ended() => {}
        _ = over, if Defence::GitLimits.stands() => drop(timeout(GRACE, running.ended()).await),
    }
}

/// git itself, for one call: what it learns are words that were chosen here, or that are one of a few.
/// It is confined to its store, and has the hooks' socket as its only way out.
///
/// # Errors
/// Where git cannot be confined.
pub fn command(folder: &Folder, repo: &Repo, call: &GitCall) -> Result<(Command, Limits)> {
    let (path, query, method) = match call.service {
        GitService::FetchRefs => (REFS, "service=git-upload-pack", "GET"),
        GitService::PushRefs => (REFS, "service=git-receive-pack", "GET"),
        GitService::Fetch => (SERVICES[0], "", "POST"),
        GitService::Push => (SERVICES[1], "", "POST"),
    };
    let mut git = Git::backend(&Quarantine::of(folder, repo).dir, Limits::serve(repo.policy.max_mib))
        .reading(&folder.services())
        .env(hook::EXE, std::env::current_exe()?)
        .env(hook::SLUG, folder.slug().as_str())
        .env(hook::REPO, repo.name.as_str())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "agent")
        .env("REMOTE_ADDR", "proxy.internal")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("PATH_INFO", format!("/{}.git/{path}", repo.name))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method);
    for (name, value) in folder.environment() {
        git = git.env(name, value);
    }
    let length = call.content_length.map(|length| length.to_string());
    let values: [(&str, &Option<String>, Known); 4] = [
        ("CONTENT_TYPE", &call.content_type, |value| value.starts_with("application/x-git-")),
        ("CONTENT_LENGTH", &length, |_| true),
        ("HTTP_CONTENT_ENCODING", &call.content_encoding, |value| value == "gzip" || value == "x-gzip"),
        ("GIT_PROTOCOL", &call.protocol, |value| matches!(value, "version=0" | "version=1" | "version=2")),
    ];
    for (variable, value, known) in values {
        if let Some(value) = value.as_deref().filter(|value| known(value)) {
            ensure!(value.len() <= MAX_VALUE && !value.contains('\0'), "{variable} is no header's value");
            git = git.env(variable, value);
        }
    }
    git.into_parts()
}

/// Hands a request's body on, as far as it may go. What is longer ends early, and git refuses it.
async fn feed(mut body: Incoming, mut stdin: Sender, most: u64) {
    let mut fed = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        fed += data.len() as u64;
        if (fed > most && Defence::GitLimits.stands()) || stdin.write_all(data).await.is_err() {
            return;
        }
    }
}

/// Writes down what git complains of, as far as that is worth it.
async fn log(path: PathBuf, mut complaint: Receiver) {
    let mut text = Vec::new();
    let _ = (&mut complaint).take(MAX_COMPLAINT).read_to_end(&mut text).await;
    if !text.is_empty() {
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_LOG) && Defence::GitLimits.stands() {
            let _ = fs::rename(&path, path.with_extension("log.old"));
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let shown: String = lines.map(|line| format!("{}\n", Shown(line))).collect();
        let _ = file.and_then(|mut file| file.write_all(shown.as_bytes()));
    }
    // It must not stop because nobody reads on.
    let _ = tokio::io::copy(&mut complaint, &mut tokio::io::sink()).await;
}

/// Reads the head of an answer: `Status: 200 OK` and other headers, then an empty line.
async fn head(said: &mut (impl AsyncBufReadExt + Unpin)) -> Result<(StatusCode, HeaderMap)> {
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    let mut said = said.take(MAX_HEAD);
    loop {
        let mut line = String::new();
        said.read_line(&mut line).await?;
        if !line.ends_with('\n') {
            bail!("git http-backend ended early");
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').context("a header")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next().unwrap_or_default().parse()?;
        } else {
            headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text + "\n")).map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
