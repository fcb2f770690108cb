//! HTTP clients that keep idle connections for reuse.

use crate::http::MAX_HEADERS;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// The number of idle connections kept per host.
const IDLE_PER_HOST: usize = 64;

/// Returns a client that connects through `connector`.
pub fn pooled<C: Connect + Clone>(connector: C) -> Client<C, Incoming> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http1_max_headers(MAX_HEADERS)
        .build(connector)
}
