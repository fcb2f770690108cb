//! Hands one request to `git http-backend` (RFC 3875: the request's metadata in the environment, its body on
//! standard input, the response on standard output).
//!
//! The keeper reads the request, and passes on its body and the response. The starter starts git
//! (`super::backend`), and gets only a few words of the request.

use super::gate::Gate;
use super::reply::Body;
use anyhow::{Context, Result, anyhow, bail};
use bottle_core::specification::Repo;
use bottle_core::visible::Bytes as Shown;
use bottle_host::defence::Defence;
use bottle_host::starter::{Alive, Ask, GitCall, GitService};
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

/// The longest response head, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
/// How many bytes one request may add to the log.
const MAX_STDERR: u64 = 16 << 10;
/// The size beyond which the log is rotated, in bytes.
const MAX_LOG: u64 = 4 << 20;
/// How long git may take to exit once nobody reads its response.
const GRACE: Duration = Duration::from_secs(2);

/// Runs git for a request that has already been checked.
///
/// # Errors
/// Returns an error if git does not start, or does not respond.
pub async fn run(
    gate: &Gate,
    repo: &Repo,
    service: GitService,
    most: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let permits = if matches!(service, GitService::Push) { &gate.pushes } else { &gate.fetches };
    let permit = Arc::clone(permits).acquire_owned().await?;
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
    let [stdin, stdout, stderr, hooks] = <[OwnedFd; 4]>::try_from(descriptors).map_err(|descriptors| {
        anyhow!("the starter handed over {} descriptors for git instead of 4", descriptors.len())
    })?;
    let stdin = Sender::from_owned_fd(stdin)?;
    let (stdout, stderr) = (Receiver::from_owned_fd(stdout)?, Receiver::from_owned_fd(stderr)?);
    // If nobody listens to the hooks, they refuse the push.
    let _ = gate.hooks.send((repo.name.clone(), hooks));
    let mut said = BufReader::new(stdout);
    // The response's body owns this sender, and drops it once the body is read or abandoned.
    let (read, over) = oneshot::channel::<()>();
    tokio::spawn(watch(running, over, permit));
    tokio::spawn(feed(request.into_body(), stdin, most));
    tokio::spawn(log(gate.log.clone(), stderr));
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

/// Makes sure that git exits, by itself or soon after nobody reads its response any more. Dropping `running`
/// kills it.
async fn watch(running: Alive, over: oneshot::Receiver<()>, _permit: OwnedSemaphorePermit) {
    tokio::select! {
        _ = running.ended() => {}
        _ = over, if Defence::GitLimits.stands() => drop(timeout(GRACE, running.ended()).await),
    }
}

/// Passes on a request's body, up to `most` bytes. A longer one is cut off, and git refuses it.
///
/// git stops reading as soon as it refuses a push. The rest is read anyway: closing the connection with
/// unread bytes would reset it, and the client would lose the response with the reason, or wait for one.
async fn feed(mut body: Incoming, stdin: Sender, most: u64) {
    let (mut fed, mut stdin) = (0, Some(stdin));
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        fed += data.len() as u64;
        if fed > most && Defence::GitLimits.stands() {
            return;
        }
        if let Some(git) = &mut stdin
            && git.write_all(data).await.is_err()
        {
            stdin = None;
        }
    }
}

/// Logs what git writes to standard error, up to a limit.
async fn log(path: PathBuf, mut stderr: Receiver) {
    let mut text = Vec::new();
    let _ = (&mut stderr).take(MAX_STDERR).read_to_end(&mut text).await;
    if !text.is_empty() {
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_LOG) && Defence::GitLimits.stands() {
            let _ = fs::rename(&path, path.with_extension("log.old"));
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let shown: String = lines.map(|line| format!("{}\n", Shown(line))).collect();
        let _ = file.and_then(|mut file| file.write_all(shown.as_bytes()));
    }
    // Keep reading: git must not block on a full pipe.
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
}

/// Reads the head of a response: `Status: 200 OK` and other headers, then an empty line.
async fn head(said: &mut (impl AsyncBufReadExt + Unpin)) -> Result<(StatusCode, HeaderMap)> {
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    let mut said = said.take(MAX_HEAD);
    loop {
        let mut line = String::new();
        said.read_line(&mut line).await?;
        if !line.ends_with('\n') {
            bail!("git http-backend ended before its response was complete");
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) =
            line.split_once(':').context("git http-backend printed a line that is not a header")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next().unwrap_or_default().parse()?;
        } else {
            headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
    }
}
