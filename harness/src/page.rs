//! A web server with one page, on loopback, for as long as the value lives.

use anyhow::Result;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// A web server with one page. It counts its connections.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Page {
    /// Serves `text` on a free loopback port.
    ///
    /// # Errors
    /// Returns an error if no port can be bound.
    pub fn serve(text: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, text) = (listener.local_addr()?, text.to_owned());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Relaxed);
                let text = text.clone();
                thread::spawn(move || answer(&stream, &text));
            }
        });
        Ok(Self { address, connections })
    }

    /// Returns the server's port on loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns how many connections the server has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

fn answer(mut stream: &TcpStream, text: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}
