//! Serves the egress proxy's door.

use super::proxy::EgressProxy;
use super::reply::{self, Body};
use super::{plain, tunnel, upstream};
use crate::http::{self, Listener};
use bottle_host::audit::UNRECORDED;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;

impl EgressProxy {
    /// Serves the door until its listener fails, as it does when its jail ends.
    pub async fn serve(self: &Arc<Self>, listener: Listener) {
        let proxy = Arc::clone(self);
        http::serve(listener, &self.server, move |request| Self::answer(Arc::clone(&proxy), request)).await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if !self.audit.may_allow() {
            let what = format!("{} {}", request.method(), request.uri().path());
            self.log("refused", "log", "", json!({ "request": what, "why": UNRECORDED }));
            return Ok(reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("bottle: {UNRECORDED}")));
        }
        Ok(if request.method() == Method::CONNECT {
            tunnel::open(&self, request).await
        } else if request.uri().authority().is_some() {
            plain::forward(&self, request).await
        } else {
            upstream::forward(&self, request).await
        })
    }
}
