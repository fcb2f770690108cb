//! One request, handed to `git http-backend` (RFC 3875: what it is about in the environment, its body
//! on standard input, the answer on standard output).

use super::child::{Git, Limits};
use super::{Gate, Repo, hook};
use crate::defence::Defence;
use crate::out;
use crate::state::Folder;
use anyhow::{Context, Result, bail};
use bottle_core::visible::Bytes as Shown;
use futures_util::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::io::ReaderStream;

type Body = BoxBody<Bytes, std::io::Error>;
/// Whether a header's value is one that git may see.
type Known = fn(&str) -> bool;

/// The longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
/// What a smart client asks for, and the only things that are served.
const SERVICES: [&str; 2] = ["git-upload-pack", "git-receive-pack"];
const REFS: &str = "info/refs";
const PUSH: &str = SERVICES[1];
/// How much a client may say beside what it pushes: names of refs that it has and wants.
const MAX_WORDS: u64 = 8 << 20;
/// How much one request leaves in the log, and how long the log may become, in bytes.
const MAX_COMPLAINT: u64 = 16 << 10;
const MAX_LOG: u64 = 4 << 20;
/// How long git may take to end by itself once nobody reads its answer, and to clean up once told to.
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
    let smart = SERVICES.iter().any(|name| query == format!("service={name}"));
    if service == REFS && !smart {
        return text(StatusCode::FORBIDDEN, "bottle: git-gate speaks git's smart protocol only".to_owned());
    }
    if request.method() != if service == REFS { Method::GET } else { Method::POST } {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "bottle: git-gate speaks git's smart protocol only".to_owned(),
        );
    }
    let most = MAX_WORDS + if service == PUSH { u64::from(repo.policy.max_mib) << 20 } else { 0 };
    if request.body().size_hint().lower() > most && Defence::GitLimits.stands() {
        return text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("bottle: a push holds at most {} MiB here (max_mib)", repo.policy.max_mib),
        );
    }
    backend(gate, repo, &path, service, &query, most, request).await.unwrap_or_else(|error| {
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

/// What git learns of a request: words that were chosen here, or that are one of a few.
fn command(
    gate: &Gate,
    repo: &Repo,
    path: &str,
    query: &str,
    request: &Request<Incoming>,
) -> Result<(Command, Limits)> {
    let folder = &gate.folder;
    let mut git = Git::backend(&folder.git(), Limits::serve(repo.policy.max_mib))
        .env(hook::EXE, std::env::current_exe()?)
        .env(hook::SLUG, folder.slug().as_str())
        .env(hook::REPO, repo.name.as_str())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "agent")
        .env("REMOTE_ADDR", "proxy.internal")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", request.method().as_str());
    for (name, value) in folder.environment() {
        git = git.env(name, value);
    }
    let headers: [(HeaderName, &str, Known); 4] = [
        (CONTENT_TYPE, "CONTENT_TYPE", |value| value.starts_with("application/x-git-")),
        (CONTENT_LENGTH, "CONTENT_LENGTH", |value| value.bytes().all(|byte| byte.is_ascii_digit())),
        (CONTENT_ENCODING, "HTTP_CONTENT_ENCODING", |value| value == "gzip" || value == "x-gzip"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL", |value| {
            matches!(value, "version=0" | "version=1" | "version=2")
        }),
    ];
    for (header, variable, known) in headers {
        if let Some(value) = request.headers().get(header).and_then(|value| value.to_str().ok())
            && known(value)
        {
            git = git.env(variable, value);
        }
    }
    let (command, limits) = git.into_parts();
    Ok((command.into(), limits))
}

async fn backend(
    gate: &Gate,
    repo: &Repo,
    path: &str,
    service: &str,
    query: &str,
    most: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let seats = if service == PUSH { &gate.pushes } else { &gate.fetches };
    let seat = Arc::clone(seats).acquire_owned().await?;
    let (mut command, limits) = command(gate, repo, path, query, &request)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("git")?;
    let stdin = child.stdin.take().context("standard input")?;
    let complaint = child.stderr.take().context("standard error")?;
    let mut said = BufReader::new(child.stdout.take().context("standard output")?);
    // Held by the answer's body: dropped when the answer was read whole, or when nobody reads it.
    let (read, over) = oneshot::channel::<()>();
    tokio::spawn(watch(child, limits, over, seat));
    tokio::spawn(feed(request.into_body(), stdin, most));
    tokio::spawn(log(gate.folder.clone(), complaint));
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

/// Sees that a git ends: by itself, when nobody reads its answer any more, or when its time is over.
async fn watch(mut child: Child, limits: Limits, over: oneshot::Receiver<()>, _seat: OwnedSemaphorePermit) {
    let ended = tokio::select! {
        _ = child.wait() => true,
        () = sleep(limits.wall) => false,
        _ = over => timeout(GRACE, child.wait()).await.is_ok(),
    };
    if !ended && Defence::GitLimits.stands() {
        // Asked first: git takes what was pushed so far off the disk then.
        tell(&child, Signal::TERM);
        if timeout(GRACE, child.wait()).await.is_err() {
            tell(&child, Signal::KILL);
        }
    }
    let _ = child.wait().await;
}

/// Signals a child that has not been waited for, and all that it started.
fn tell(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process_group(pid, signal);
    }
}

/// Hands a request's body on, as far as it may go. What is longer ends early, and git refuses it.
async fn feed(mut body: Incoming, mut stdin: ChildStdin, most: u64) {
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
async fn log(folder: Folder, complaint: ChildStderr) {
    let mut complaint = complaint;
    let mut text = Vec::new();
    let _ = (&mut complaint).take(MAX_COMPLAINT).read_to_end(&mut text).await;
    if !text.is_empty() {
        let path = folder.git_log();
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
