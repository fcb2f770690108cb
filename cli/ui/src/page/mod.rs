//! `bottle ui`: a page for one person's browser, on loopback.
//!
//! [`gate`] decides which requests are answered at all, with the secrets in [`session`]. [`routes`] says what
//! is at which path, [`assets`] has the files, and [`answer`] makes every response.

mod answer;
mod assets;
mod gate;
mod routes;
mod session;

use crate::desk::Desk;
use anyhow::{Context, Result};
use bottle_host::failure::Outcome;
use gate::{Admitted, Head, Refused};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName, ORIGIN};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use session::Session;
use std::convert::Infallible;
use std::io::BufRead;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How long a browser may take to send the head of a request, or its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 << 10;
/// How many connections are served at a time. Further ones wait.
const CONNECTIONS: usize = 64;
/// How many requests are worked on at a time. Further ones wait.
const AT_ONCE: usize = 8;
/// How often to look whether the page is idle.
const GLANCE: Duration = Duration::from_millis(500);

/// How a page is served.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// The port; 0 means any.
    pub port: u16,
    /// The page ends when nobody has looked at it for this long.
    pub idle: Duration,
}

/// Serves the page until a signal, the end of the terminal, or until nobody has looked at it for long enough.
/// `show` is given each link, the first at once and another for each line on standard input, if that is a
/// terminal.
///
/// # Errors
/// Returns an error if the port is taken.
pub fn serve(desk: impl Desk, how: How, show: impl FnMut(&str) -> Outcome) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(AT_ONCE + 4)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let served = runtime.block_on(run(desk, how, show));
    // Something slow, like a push on its way, must not keep the page from ending.
    runtime.shutdown_background();
    served
}

struct Page<D> {
    desk: D,
    session: Session,
    port: u16,
    looked: Mutex<Instant>,
    work: Semaphore,
}

async fn run(desk: impl Desk, how: How, mut show: impl FnMut(&str) -> Outcome) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, how.port)).await;
    let listener = listener.with_context(|| format!("port {} of 127.0.0.1", how.port))?;
    let port = listener.local_addr().map_err(anyhow::Error::from)?.port();
    let (session, looked, work) = (Session::new()?, Mutex::new(Instant::now()), Semaphore::new(AT_ONCE));
    let page = Arc::new(Page { desk, session, port, looked, work });
    let mut ends = Vec::new();
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()] {
        ends.push(signal(kind).map_err(anyhow::Error::from)?);
    }
    let [mut hangup, mut interrupt, mut terminate] =
        ends.try_into().map_err(|_| anyhow::anyhow!("signals"))?;
    let (to, mut lines) = unbounded_channel();
    read_lines(to.clone())?;
    let link =
        |page: &Page<_>| -> Result<String> { Ok(format!("http://127.0.0.1:{port}{}", page.session.link()?)) };
    show(&link(&page)?)?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        tokio::select! {
            permit = Arc::clone(&connections).acquire_owned() => {
                let Ok(permit) = permit else { return Ok(()) };
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            let page = Arc::clone(&page);
                            tokio::spawn(async move {
                                let _permit = permit;
                                connection(page, stream).await;
                            });
                        } else {
                            tokio::time::sleep(GLANCE).await;
                        }
                    }
                    line = lines.recv() => match line {
                        Some(true) => show(&link(&page)?)?,
                        _ => return Ok(()),
                    },
                    _ = hangup.recv() => return Ok(()),
                    _ = interrupt.recv() => return Ok(()),
                    _ = terminate.recv() => return Ok(()),
                    () = tokio::time::sleep(GLANCE) => {
                        let looked = *page.looked.lock().unwrap_or_else(PoisonError::into_inner);
                        if looked.elapsed() > how.idle {
                            return Ok(());
                        }
                    }
                }
            }
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Reports each line on standard input, if that is a terminal, and its end.
fn read_lines(to: UnboundedSender<bool>) -> Result<()> {
    use std::io::IsTerminal;
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(());
    }
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut line = String::new();
        while input.lock().read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
            if to.send(true).is_err() {
                return;
            }
        }
        let _ = to.send(false);
    })?;
    Ok(())
}

async fn connection<D: Desk>(page: Arc<Page<D>>, stream: tokio::net::TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(respond(page, request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(LONGEST_HEAD);
    // A connection that is not HTTP, or is cut off, is closed.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond<D: Desk>(page: Arc<Page<D>>, request: Request<Incoming>) -> answer::Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let head = Head {
        method: parts.method.as_str(),
        path: &path,
        query: &query,
        is_absolute: parts.uri.authority().is_some(),
        hosts: all(&parts.headers, HOST),
        origins: all(&parts.headers, ORIGIN),
        sites: all(&parts.headers, HeaderName::from_static("sec-fetch-site")),
        is_ahead: ["sec-purpose", "purpose"].iter().any(|name| parts.headers.contains_key(*name)),
        cookies: all(&parts.headers, COOKIE),
        types: all(&parts.headers, CONTENT_TYPE),
        length: parts.headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok()),
    };
    let admitted = match gate::admit(&head, page.port, &page.session) {
        Ok(admitted) => admitted,
        Err(refused) => return answer::refused(refused),
    };
    *page.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    let (inner, given) = match admitted {
        Admitted::Cookie => {
            return answer::entered(&page.session.set_cookie(page.port), &page.session.folder());
        }
        Admitted::Page(inner) => (inner.to_owned(), None),
        Admitted::Change(inner) => {
            let largest = usize::try_from(gate::LARGEST).unwrap_or(usize::MAX);
            match tokio::time::timeout(PATIENCE, Limited::new(body, largest).collect()).await {
                Ok(Ok(read)) => (inner.to_owned(), Some(read.to_bytes())),
                _ => return answer::refused(Refused::Size),
            }
        }
    };
    let Ok(_permit) = page.work.acquire().await else { return answer::missing() };
    let of = Arc::clone(&page);
    let work = move || match given {
        Some(body) => routes::post(&of.desk, &inner, &body),
        None => routes::get(&of.desk, &inner, &query),
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| answer::missing())
}

fn all(headers: &HeaderMap, name: HeaderName) -> Vec<&[u8]> {
    headers.get_all(name).iter().map(hyper::header::HeaderValue::as_bytes).collect()
}
