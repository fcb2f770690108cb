//! The parent proxy, to which only this process speaks: it alone has the login.

use super::holder::KeyHolder;
use super::logins::{Known, Logins};
use super::parent_reply::{Reply, Why, challenge};
use super::passed::Passed;
use super::protocol::KeyFound;
use super::relay::{Body, Sender, broke_off, refusal, relay};
use anyhow::{Context, Result, ensure};
use bottle_core::egress::HostName;
use bottle_core::parent::ParentUse;
use bottle_core::upstream::echo;
use bottle_host::starter::wire;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How long a parent proxy may take to open a tunnel: it connects to the host meanwhile.
const TUNNEL: Duration = Duration::from_secs(30);
/// The longest head of its answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// Asks the parent proxy for a tunnel. The keeper has the same connection, and goes on with it.
pub async fn tunnel(
    logins: &Logins,
    host: &HostName,
    port: u16,
    mut keeper: UnixStream,
    mut proxy: TcpStream,
) -> Result<()> {
    let opened = match logins.at(ParentUse::Tunnel, &proxy) {
        Ok(known) => match tokio::time::timeout(TUNNEL, open(known, host, port, &mut proxy)).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("the parent proxy {} does not answer", known.address)),
        },
        Err(why) => Err(why),
    };
    let why = opened.err().unwrap_or_default();
    Ok(keeper.write_all(format!("{}\n", why.replace('\n', " ")).as_bytes()).await?)
}

/// Asks a parent proxy for a tunnel, on a connection to it.
///
/// # Errors
/// Returns why there is none.
pub async fn open(known: &Known, host: &HostName, port: u16, proxy: &mut TcpStream) -> Result<(), String> {
    let broken = |why: &dyn std::fmt::Display| format!("the parent proxy {} broke off: {why}", known.address);
    let mut ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(login) = &known.login {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(login.as_bytes());
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    proxy.write_all(&ask).await.map_err(|error| broken(&error))?;
    let (mut head, mut left) = (Vec::new(), MAX_HEAD);
    loop {
        // Byte by byte: what follows the head belongs to the tunnel.
        while !head.ends_with(b"\r\n\r\n") {
            left = left.checked_sub(1).ok_or_else(|| broken(&"its answer is too long"))?;
            head.push(proxy.read_u8().await.map_err(|error| broken(&error))?);
        }
        match Reply::parse(&head) {
            Some(reply) if !reply.is_interim() => break,
            Some(_) => head.clear(),
            None => return Err(broken(&"its answer is not HTTP")),
        }
    }
    let reply = Reply::parse(&head).ok_or_else(|| broken(&"its answer is not HTTP"))?;
    reply.into_tunnel().map_err(|why| why.text(&known.address, known.login.is_some()))
}

/// Passes requests for plain HTTP on to the parent proxy.
pub async fn plain(
    holder: &Arc<KeyHolder>,
    keeper: &Arc<OwnedFd>,
    mut http: UnixStream,
    proxy: TcpStream,
) -> Result<()> {
    if let Err(why) = holder.logins.at(ParentUse::Plain, &proxy) {
        return Ok(http.write_all(format!("{why}\n").as_bytes()).await?);
    }
    http.write_all(b"\n").await?;
    let (holder, keeper) = (Arc::clone(holder), Arc::clone(keeper));
    relay(http, proxy, |request, sender| pass(Arc::clone(&holder), Arc::clone(&keeper), sender, request))
        .await
}

async fn pass(
    holder: Arc<KeyHolder>,
    keeper: Arc<OwnedFd>,
    sender: Sender,
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let known = holder.logins.of(ParentUse::Plain).context("there is no parent proxy")?;
    ensure!(request.uri().scheme_str() == Some("http"), "only plain HTTP is passed on to a parent proxy");
    // A proxy answers these itself, and some answer with the request as it came, login and all.
    if request.method() == Method::TRACE || request.method() == Method::CONNECT {
        let why = "bottle: a parent proxy is not asked for this method\n";
        return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, why));
    }
    let headers = request.headers_mut();
    headers.remove(header::MAX_FORWARDS);
    headers.remove(header::PROXY_AUTHORIZATION);
    if let Some(login) = &known.login {
        headers.insert(header::PROXY_AUTHORIZATION, login.clone());
    }
    let mut response = match sender.send(request.map(Either::Left)).await {
        Ok(response) => response,
        Err(error) => return Ok(broke_off(&format!("the parent proxy {}", known.address), &error)),
    };
    if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        let offered = response.headers().get_all(header::PROXY_AUTHENTICATE);
        let why = Why::Login(offered.iter().filter_map(|value| challenge(value.as_bytes())).collect());
        let text = why.text(&known.address, known.login.is_some());
        return Ok(refusal(StatusCode::BAD_GATEWAY, format!("bottle: {text}\n")));
    }
    response.headers_mut().remove(header::PROXY_AUTHENTICATE);
    if known.login.is_none() {
        return Ok(response.map(|body| Either::Left(Passed::plain(Either::Left(body)))));
    }
    let found = move || _ = wire::send(&*keeper, &KeyFound { request: what }, &[]);
    let secrets = &holder.logins.secrets;
    let says = |name: &HeaderName, value: &HeaderValue| {
        echo::has_in_any_case(secrets, name.as_str().as_bytes()) || echo::has(secrets, value.as_bytes())
    };
    if response.headers().iter().any(|(name, value)| says(name, value)) {
        found();
        return Ok(refusal(StatusCode::BAD_GATEWAY, "bottle: the response contained a key\n"));
    }
    Ok(response.map(|body| Either::Left(Passed::guarded(Either::Left(body), Arc::clone(secrets), found))))
}
