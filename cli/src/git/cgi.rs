//! One request, handed to `git http-backend` (RFC 3875: what it is about in the environment, its body
//! on standard input, the answer on standard output).

use super::quarantine::Quarantine;
use super::{Gate, Repo, hook};
use crate::out;
use crate::starter::{Ask, GitCall, GitService};
use crate::state::Folder;
use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio_util::io::ReaderStream;

type Body = BoxBody<Bytes, std::io::Error>;

/// The longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
/// The longest value of a request that git is told, in bytes.
const MAX_VALUE: usize = 1024;
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
    backend(gate, repo, service, request).await.unwrap_or_else(|error| {
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
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let seat = Arc::clone(&gate.processes).acquire_owned().await?;
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
    let [stdin, stdout, hooks] = <[OwnedFd; 3]>::try_from(descriptors)
        .map_err(|descriptors| anyhow!("git came with {} descriptors", descriptors.len()))?;
    let (stdin, stdout) = (Sender::from_owned_fd(stdin)?, Receiver::from_owned_fd(stdout)?);
    // Where nobody listens to the hooks, they refuse.
    let _ = gate.hooks.send((repo.name.clone(), hooks));
    let mut said = BufReader::new(stdout);
    let fed = tokio::spawn(feed(request.into_body(), stdin));
    let (status, headers) = head(&mut said).await?;
    let rest = ReaderStream::new(said).map_ok(Frame::data);
    tokio::spawn(async move {
        // It ends when it has answered, or when nobody reads its answer.
        let _ = (running.ended().await, fed.await);
        drop(seat);
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(rest)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// git itself, for one call: confined to its store, and with the hooks' socket as its only way out.
///
/// # Errors
/// Where the call has what no request has, or git cannot be confined.
pub fn command(folder: &Folder, repo: &Repo, call: &GitCall) -> Result<Command> {
    let (path, query, method) = match call.service {
        GitService::FetchRefs => (REFS, "service=git-upload-pack", "GET"),
        GitService::PushRefs => (REFS, "service=git-receive-pack", "GET"),
        GitService::Fetch => ("git-upload-pack", "", "POST"),
        GitService::Push => ("git-receive-pack", "", "POST"),
    };
    let mut command = Command::new("git");
    command.arg("http-backend").env_clear();
    for name in ["PATH", crate::defence::WITHOUT, crate::confine::trial::TRY] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(folder.environment()).env(hook::EXE, std::env::current_exe()?);
    command.env(hook::SLUG, folder.slug().as_str()).env(hook::REPO, repo.name.as_str());
    command.env("HOME", folder.git()).env("LC_ALL", "C");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_PROJECT_ROOT", folder.git()).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REMOTE_USER", "agent").env("REMOTE_ADDR", "proxy.internal");
    command.env("SERVER_PROTOCOL", "HTTP/1.1").env("REQUEST_METHOD", method);
    command.env("PATH_INFO", format!("/{}.git/{path}", repo.name)).env("QUERY_STRING", query);
    let length = call.content_length.map(|length| length.to_string());
    for (variable, value) in [
        ("CONTENT_TYPE", &call.content_type),
        ("CONTENT_LENGTH", &length),
        ("HTTP_CONTENT_ENCODING", &call.content_encoding),
        ("GIT_PROTOCOL", &call.protocol),
    ] {
        let Some(value) = value else { continue };
        ensure!(value.len() <= MAX_VALUE && !value.contains('\0'), "{variable} is no header's value");
        command.env(variable, value);
    }
    super::confine(&mut command, &Quarantine::of(folder, repo).dir, &[folder.services()])?;
    Ok(command)
}

async fn feed(mut body: Incoming, mut stdin: Sender) {
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
