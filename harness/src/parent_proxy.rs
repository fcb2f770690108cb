//! A stand-in for a company's proxy: it leads to one server, whatever name it is asked for.

use anyhow::Result;
use std::io::{Read, Write, copy};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How the proxy treats whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It lets everybody through.
    Open,
    /// It lets through whoever sends this value of `Proxy-Authorization`, and offers Basic.
    Login(&'static str),
    /// It offers only what Windows speaks.
    Windows,
    /// It refuses every host.
    Refusing,
    /// It closes the connection without a word.
    Mute,
}

/// A proxy on a loopback address. Its threads end with the test.
#[derive(Debug)]
pub struct ParentProxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ParentProxy {
    /// Starts a proxy whose tunnels all lead to `server`. It answers requests for plain HTTP itself: below
    /// `/mirror` with what it was asked.
    ///
    /// # Errors
    /// Returns an error if there is no port.
    pub fn start(server: SocketAddr, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A client that breaks off ends its own thread.
                thread::spawn(move || serve(client, server, manner, &seen));
            }
        });
        Ok(Self { port, heads })
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its URL with a name and a password in it.
    pub fn url_for(&self, login: &str) -> String {
        format!("http://{login}@127.0.0.1:{}", self.port)
    }

    /// Returns the heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut client: TcpStream, server: SocketAddr, manner: Manner, seen: &Mutex<Vec<String>>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let has_login = |login| {
            let mut headers = head.lines().filter_map(|line| line.split_once(": "));
            headers.any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == login)
        };
        let refusal = match manner {
            Manner::Open => None,
            Manner::Login(login) if has_login(login) => None,
            Manner::Login(_) => Some("407 Login\r\nProxy-Authenticate: Basic realm=\"corp\""),
            Manner::Windows => Some("407 Login\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM"),
            Manner::Refusing => Some("403 Forbidden"),
            Manner::Mute => return None,
        };
        if let Some(refusal) = refusal {
            let answer = format!("HTTP/1.1 {refusal}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes()).ok();
        }
        if head.starts_with("CONNECT ") {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            return tunnel(client, TcpStream::connect(server).ok()?);
        }
        let page = if head.contains("/mirror") { &head } else { "a page\n" };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len());
        client.write_all(answer.as_bytes()).ok()?;
    }
}

fn tunnel(mut client: TcpStream, mut server: TcpStream) -> Option<()> {
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = copy(&mut server, &mut client);
    Some(())
}
