//! WebSockets to upstreams: once the origin has agreed, bytes pass both ways as they come.

use super::pass;
use super::proxy::EgressProxy;
use super::reply::Body;
use bottle_host::audit;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Returns the agent's end of a request for a WebSocket. Other upgrades (Java's clients offer h2c) are offers, and a
/// server that answers as usual has declined them.
pub fn wanted(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let to = request.headers().get(header::UPGRADE)?;
    let wanted = request.method() == Method::GET && to.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes());
    wanted.then(|| hyper::upgrade::on(request))
}

/// Asks for a WebSocket without extensions: a key in a compressed message would not be found.
pub fn ask(headers: &mut HeaderMap) {
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    switch(headers);
}

fn switch(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// Passes the origin's agreement on, and then bytes both ways.
pub fn open(
    proxy: &Arc<EgressProxy>,
    what: String,
    path: &str,
    agent: OnUpgrade,
    mut response: Response<Incoming>,
) -> Response<Body> {
    let origin = hyper::upgrade::on(&mut response);
    let (proxy, path, since) = (Arc::clone(proxy), path.to_owned(), Instant::now());
    proxy.log("opened", "", &path, json!({ "request": what }));
    tokio::spawn(async move {
        let relayed = async {
            let (agent, origin) = tokio::try_join!(agent, origin).map_err(std::io::Error::other)?;
            pass::both_ways(&mut TokioIo::new(agent), &mut TokioIo::new(origin)).await
        };
        let ended = relayed.await;
        let mut details = json!({ "request": what, "status": 101, "ms": audit::millis(since.elapsed()) });
        match ended {
            Ok((up, down)) => (details["bytes_up"], details["bytes_down"]) = (up.into(), down.into()),
            Err(error) => details["ended"] = error.to_string().into(),
        }
        proxy.log("upstream", "", &path, details);
    });
    let mut agreed = response.map(|_| Either::Right(Full::default()));
    switch(agreed.headers_mut());
    agreed
}
