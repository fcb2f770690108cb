//! Serves git-gate's door: finds the repository and the service that a request asks for.

use super::cgi;
use super::gate::Gate;
use super::reply::{Body, text};
use super::services::{RECEIVE_PACK, REFS, UPLOAD_PACK};
use crate::http::{self, Listener};
use bottle_core::specification::Repo;
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::starter::GitService;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;

/// How many bytes a client may send apart from the pack: the names of refs that it has and wants.
const MAX_WORDS: u64 = 8 << 20;

impl Gate {
    /// Serves the door until its listener fails.
    pub async fn serve(self: &Arc<Self>, listener: Listener) {
        let gate = Arc::clone(self);
        http::serve(listener, &self.server, move |request| {
            let gate = Arc::clone(&gate);
            async move { Ok(answer(&gate, request).await) }
        })
        .await;
    }
}

/// Responds to a request for a repository.
async fn answer(gate: &Arc<Gate>, request: Request<Incoming>) -> Response<Body> {
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    if let Some(lfs) = lfs(&gate.repos, &path) {
        let response = refuse_lfs(lfs);
        read_words(request.into_body()).await;
        return response;
    }
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
                "bottle: git-gate only speaks git's smart protocol".to_owned(),
            );
        }
        (UPLOAD_PACK, _) => GitService::Fetch,
        _ => GitService::Push,
    };
    let wanted = if matches!(service, GitService::FetchRefs | GitService::PushRefs) {
        Method::GET
    } else {
        Method::POST
    };
    if request.method() != wanted {
        return text(StatusCode::METHOD_NOT_ALLOWED, format!("bottle: this is only served with {wanted}"));
    }
    let pushes = matches!(service, GitService::Push);
    let most = MAX_WORDS + if pushes { u64::from(repo.policy.max_mib) << 20 } else { 0 };
    if request.body().size_hint().lower() > most && Defence::GitLimits.stands() {
        return text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "bottle: a push may have at most {} MiB here (`max_mib` in bottle.toml)",
                repo.policy.max_mib
            ),
        );
    }
    cgi::run(gate, repo, service, most, request).await.unwrap_or_else(|error| {
        out::note(format_args!("git-gate: {error:#}"));
        text(
            StatusCode::BAD_GATEWAY,
            "bottle: git-gate could not run git; the keeper's log has the reason".to_owned(),
        )
    })
}

/// Returns the repository and the service of a path like `/name.git/git-upload-pack`.
fn find<'g, 'p>(repos: &'g [Repo], path: &'p str) -> Option<(&'g Repo, &'p str)> {
    let (name, service) = path.strip_prefix('/')?.split_once(".git/")?;
    let known = service == REFS || service == UPLOAD_PACK || service == RECEIVE_PACK;
    repos.iter().find(|repo| repo.name.as_str() == name).filter(|_| known).map(|repo| (repo, service))
}

/// Returns the Git LFS request in a path: `objects/batch` for `/name.git/info/lfs/objects/batch`.
fn lfs<'p>(repos: &[Repo], path: &'p str) -> Option<&'p str> {
    let (name, rest) = path.strip_prefix('/')?.split_once(".git/info/lfs/")?;
    repos.iter().any(|repo| repo.name.as_str() == name).then_some(rest)
}

/// Reads a client's request body, up to the usual limit. A client that is still sending would not see the
/// response.
async fn read_words(mut body: Incoming) {
    let mut left = MAX_WORDS;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        if len > left {
            return;
        }
        left -= len;
    }
}

/// Refuses a Git LFS request, in the format whose message git-lfs shows to the agent. git-lfs does not treat
/// missing locks as an error.
fn refuse_lfs(request: &str) -> Response<Body> {
    let status = if request.starts_with("locks") { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
    let message = "bottle: git-gate does not carry the contents of Git LFS files: a clone has their pointers \
                   (GIT_LFS_SKIP_SMUDGE=1 is quiet about it), and your operator has to add or fetch the contents";
    let mut response = text(status, format!("{{\"message\": \"{message}\"}}"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.git-lfs+json"));
    response
}
