//! One request, handed to `git http-backend` (RFC 3875: what it is about in the environment, its body
//! on standard input, the answer on standard output).

use super::{Gate, Repo, hook};
use crate::out;
use crate::process::die_with_parent;
use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio_util::io::ReaderStream;

type Body = BoxBody<Bytes, std::io::Error>;

/// The longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
/// What a smart client asks for, and the only things that are served.
const SERVICES: [&str; 2] = ["git-upload-pack", "git-receive-pack"];
const REFS: &str = "info/refs";

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
    backend(gate, repo, &path, &query, request).await.unwrap_or_else(|error| {
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
    path: &str,
    query: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let seat = Arc::clone(&gate.processes).acquire_owned().await?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(gate.folder.git_log())?;
    let mut command = Command::new("git");
    command.arg("http-backend").env_clear();
    for (name, value) in std::env::vars_os().filter(|(name, _)| name == "PATH") {
        command.env(name, value);
    }
    command.envs(gate.folder.environment()).env(hook::EXE, std::env::current_exe()?);
    command.env(hook::SLUG, gate.folder.slug().as_str()).env(hook::REPO, repo.name.as_str());
    command.env("HOME", gate.folder.git()).env("LC_ALL", "C");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_PROJECT_ROOT", gate.folder.git()).env("GIT_HTTP_EXPORT_ALL", "1");
    command
        .env("REMOTE_USER", "agent")
        .env("REMOTE_ADDR", "proxy.internal")
        .env("SERVER_PROTOCOL", "HTTP/1.1");
    command
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", request.method().as_str());
    for (header, variable) in [
        (CONTENT_TYPE, "CONTENT_TYPE"),
        (CONTENT_LENGTH, "CONTENT_LENGTH"),
        (CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
    ] {
        if let Some(value) = request.headers().get(header).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    die_with_parent(command.as_std_mut(), Signal::KILL);
    let mut child = command.spawn().context("git")?;
    let stdin = child.stdin.take().context("standard input")?;
    let mut said = BufReader::new(child.stdout.take().context("standard output")?);
    let fed = tokio::spawn(feed(request.into_body(), stdin));
    let (status, headers) = head(&mut said).await?;
    let rest = ReaderStream::new(said).map_ok(Frame::data);
    tokio::spawn(async move {
        // It ends when it has answered, or when nobody reads its answer.
        let _ = (child.wait().await, fed.await);
        drop(seat);
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(rest)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

async fn feed(mut body: Incoming, mut stdin: ChildStdin) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref()
            && stdin.write_all(data).await.is_err()
        {
            return;
        }
    }
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
