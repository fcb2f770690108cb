//! CONNECT: a tunnel to one host and port. A tunnel to port 443 carries TLS for that host and nothing else.

use super::dial::DialError;
use super::open::Dialled;
use super::pass;
use super::proxy::EgressProxy;
use super::reply::{self, Body};
use crate::http::Client;
use bottle_core::egress::{ClientHello, Denial, HostName, MAX_HELLO, authority, client_hello};
use bottle_core::parent::ParentUse;
use bottle_host::audit;
use bottle_host::defence::Defence;
use hyper::body::Incoming;
use hyper::upgrade::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HTTPS: u16 = 443;
/// How long a client may take to name the server in its TLS hello.
const HELLO_LIMIT: Duration = Duration::from_secs(15);

pub async fn open(proxy: &Arc<EgressProxy>, request: Request<Incoming>) -> Response<Body> {
    let what = format!("CONNECT {}", request.uri());
    let text = request.uri().authority().map_or("", |authority| authority.as_str());
    let Ok((host, port)) = authority(text, HTTPS) else {
        return proxy.refuse(&what, &unreadable(text));
    };
    let begun = proxy.begun(&what, &host);
    let dialled = proxy.dialer.dial(&host, port).await;
    begun.answered();
    let upstream = match dialled {
        Ok(stream) => stream,
        Err(DialError::Denied(denial)) => return proxy.refuse(&what, &denial),
        Err(error) => {
            proxy.log("failed", "", host.as_str(), json!({ "request": what, "why": error.to_string() }));
            return reply::unreachable(&error);
        }
    };
    let proxy = Arc::clone(proxy);
    tokio::spawn(async move {
        // Only this proxy's own server hands connections over.
        let client =
            hyper::upgrade::on(request).await.map_err(|error| error.to_string()).and_then(|client| {
                client
                    .downcast::<TokioIo<Client>>()
                    .map_err(|_| "it is not a connection to this door".to_owned())
            });
        match client {
            Ok(Parts { io, read_buf, .. }) => {
                // The server's buffer is larger than all that a tunnel keeps.
                let first = read_buf.to_vec();
                drop(read_buf);
                relay(&proxy, &what, &host, port, (io.into_inner(), first), upstream).await;
            }
            Err(why) => proxy.log("failed", "", host.as_str(), json!({ "request": what, "why": why })),
        }
    });
    reply::text(StatusCode::OK, "")
}

/// Returns the reason for refusing an authority that names no host.
pub fn unreadable(text: &str) -> Denial {
    let host = text.rsplit_once(':').filter(|_| !text.ends_with(']')).map_or(text, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().map_or(Denial::Unreadable, Denial::AddressLiteral)
}

async fn relay(
    proxy: &Arc<EgressProxy>,
    what: &str,
    host: &HostName,
    port: u16,
    (mut client, mut first): (Client, Vec<u8>),
    mut upstream: Dialled,
) {
    let since = Instant::now();
    if port == HTTPS {
        let limit = tokio::time::timeout(HELLO_LIMIT, read_hello(&mut client, &mut first));
        let hello = tokio::select! {
            hello = limit => hello.unwrap_or(ClientHello::Partial),
            () = upstream.closed() => return,
        };
        if first.is_empty() && !Defence::RefusalsLogged.stands() {
            return;
        }
        if let Err(denial) = proxy.dialer.read(|rules| rules.check_server_name(host, &hello)) {
            proxy.refuse(what, &denial);
            return;
        }
    }
    proxy.log("opened", "", host.as_str(), json!({ "request": what }));
    let passed = upstream.passed();
    let parent = proxy.dialer.parent_of(ParentUse::Tunnel, host);
    let relayed = async {
        upstream.write_all(&first).await?;
        drop(first);
        pass::both_ways(&mut client, &mut upstream).await
    };
    let ended = relayed.await;
    let ms = audit::millis(since.elapsed());
    let mut details =
        json!({ "request": what, "bytes_up": passed.up(), "bytes_down": passed.down(), "ms": ms });
    if let Some(parent) = parent {
        details["parent"] = parent.into();
    }
    if let Some(why) = passed.why_closed() {
        details["ended"] = why.into();
    } else if let Err(error) = ended {
        details["ended"] = error.to_string().into();
    }
    proxy.log("allowed", "", host.as_str(), details);
}

/// Reads until the first bytes name the wanted server, or clearly never will.
async fn read_hello(client: &mut Client, first: &mut Vec<u8>) -> ClientHello {
    // On the heap: a tunnel would have room for it in its state as long as it is open.
    let mut buffer = vec![0; 4096];
    loop {
        // Some of them may have come with the request.
        match client_hello(first) {
            ClientHello::Partial if first.len() < MAX_HELLO => {}
            said => return said,
        }
        match client.read(&mut buffer).await {
            Ok(read) if read > 0 => first.extend_from_slice(&buffer[..read]),
            _ => return ClientHello::Partial,
        }
    }
}
