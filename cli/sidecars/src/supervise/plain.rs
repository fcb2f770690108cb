//! The tools as plain HTTP, for agents that have curl but no MCP client.

use super::messages::Outcome;
use super::tools::Supervise;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::sync::Arc;

type Body = BoxBody<Bytes, Infallible>;

/// The longest request, in bytes.
const MAX_BODY: usize = 64 * 1024;

const HELP: &str = "bottle: supervise, where you ask your operator. MCP is at /mcp; plain HTTP is

  POST /request_host  {\"host\": \"example.com\", \"reason\": \"...\", \"wait_seconds\": 50}
  POST /ask           {\"question\": \"...\", \"wait_seconds\": 50}
  POST /decision      {\"id\": 7, \"wait_seconds\": 50}
  POST /report        {\"status\": \"...\"}

The answer is {\"decision\": \"approved\" | \"refused\" | \"undecided\" | \"noted\", \"id\": 7, \"says\": \"...\"}.
`undecided` waits on: ask for the decision again with its id.
";

pub async fn answer(supervise: &Arc<Supervise>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if request.method() != Method::POST {
        let status = if path == "/" { StatusCode::OK } else { StatusCode::NOT_FOUND };
        return response(status, "text/plain; charset=utf-8", HELP.to_owned());
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return wrong(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long");
    };
    let body = body.to_bytes();
    match called(supervise, &path, &body).await {
        Ok(Some(outcome)) => json(&outcome),
        Ok(None) => response(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", HELP.to_owned()),
        Err(why) => wrong(StatusCode::BAD_REQUEST, &why),
    }
}

/// Calls the tool with this path, if there is one.
async fn called(supervise: &Supervise, path: &str, body: &[u8]) -> Result<Option<Outcome>, String> {
    let outcome = match path {
        "/request_host" => supervise.request_host(read(body)?).await,
        "/ask" => supervise.ask(read(body)?).await,
        "/decision" => supervise.decision(read(body)?).await,
        "/report" => supervise.report(&read(body)?),
        _ => return Ok(None),
    };
    outcome.map(Some)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn json(outcome: &Outcome) -> Response<Body> {
    match serde_json::to_string(outcome) {
        Ok(text) => response(StatusCode::OK, "application/json", text + "\n"),
        Err(error) => wrong(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn wrong(status: StatusCode, why: &str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", format!("bottle: {why}\n"))
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
