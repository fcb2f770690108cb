//! Sends bytes in bulk through a door, and checks each of them. The soak test uses it for its traffic, and it
//! measures throughput in a guest that has no other programs.
//!
//! The client requests a direction and a number of MiB in one line. Then the bytes flow, the same in every
//! flow, in blocks whose length differs from any buffer's, so that a lost, doubled or misplaced block is
//! noticed.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// How long either side waits for the other before it reports a stall.
const STALL: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// The length of a block, in bytes. It is a prime.
const BLOCK: usize = 65_521;
const MIB: u64 = 1 << 20;
/// What a receiver sends once it has everything.
const DONE: &[u8] = b"k";

/// The direction of the bytes, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the door.
    To,
    /// From the door.
    From,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::To, Self::From];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::To => "to",
            Self::From => "from",
        })
    }
}

impl FromStr for Direction {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "to" => Ok(Self::To),
            "from" => Ok(Self::From),
            other => bail!("{other:?} is not a direction; expected to or from"),
        }
    }
}

/// Runs `bottle-guest flow ADDRESS to|from MIB`, which prints how many seconds it took.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let words: Vec<String> = words.into_iter().filter_map(|word| word.into_string().ok()).collect();
    let [address, direction, mib] = words.as_slice() else { bail!("expected ADDRESS to|from MIB") };
    let took = run(address.parse()?, direction.parse()?, mib.parse()?)?;
    println!("{:.6}", took.as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Returns the rate in MB/s for this many MiB, from the client's output.
pub fn rate(mib: u64, printed: &[u8]) -> Option<f64> {
    let seconds: f64 = std::str::from_utf8(printed).ok()?.trim().parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Some((mib * MIB) as f64 / 1e6 / seconds)
}

fn run(address: SocketAddr, direction: Direction, mib: u64) -> Result<Duration> {
    over(TcpStream::connect_timeout(&address, CONNECT).context("cannot connect")?, direction, mib)
}

/// Sends or receives, as the client at the end of this connection. Returns how long it took.
///
/// # Errors
/// Returns an error if the connection breaks off or stalls, or a byte is not the one that was sent.
pub fn over(mut stream: TcpStream, direction: Direction, mib: u64) -> Result<Duration> {
    patient(&stream)?;
    writeln!(stream, "{direction} {mib}")?;
    let since = Instant::now();
    match direction {
        Direction::To => {
            send(&mut stream, mib * MIB)?;
            stream.read_exact(&mut [0; DONE.len()]).context("the other side did not receive everything")?;
        }
        Direction::From => receive(&mut stream, mib * MIB)?,
    }
    Ok(since.elapsed())
}

/// Serves every client, forever.
pub fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // The client notices that it ended early, and reports that.
                let _ = answer(stream);
            });
        }
    });
}

fn answer(mut stream: TcpStream) -> Result<()> {
    patient(&stream)?;
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" && line.len() < 32 {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    let line = String::from_utf8(line)?;
    let (direction, mib) = line.trim().split_once(' ').context("expected a direction and MiB")?;
    let bytes = mib.parse::<u64>()? * MIB;
    match direction.parse()? {
        Direction::To => {
            receive(&mut stream, bytes)?;
            stream.write_all(DONE)?;
        }
        Direction::From => send(&mut stream, bytes)?,
    }
    Ok(())
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))
}

/// Returns the block that every flow repeats.
fn block() -> Vec<u8> {
    // Numerical Recipes' linear congruential generator: its upper bytes do not repeat before 2^24 values.
    let mut state = 1_u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(BLOCK).collect()
}

fn send(stream: &mut impl Write, bytes: u64) -> io::Result<()> {
    let block = block();
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        stream.write_all(&block[..now])?;
        left -= now as u64;
    }
    Ok(())
}

fn receive(stream: &mut impl Read, bytes: u64) -> Result<()> {
    // Twice the block, so that a read that starts anywhere in it is one slice.
    let wanted = block().repeat(2);
    let mut buffer = vec![0; BLOCK];
    let mut done = 0;
    while done < bytes {
        let most = usize::try_from(bytes - done).unwrap_or(BLOCK).min(BLOCK);
        let read = stream.read(&mut buffer[..most]).with_context(|| format!("after {done} bytes"))?;
        if read == 0 {
            bail!("it ended after {done} of {bytes} bytes");
        }
        let place = usize::try_from(done % BLOCK as u64)?;
        if buffer[..read] != wanted[place..place + read] {
            bail!("the {read} bytes after {done} are not those that were sent");
        }
        done += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_both_directions() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener);
        for direction in [Direction::To, Direction::From] {
            run(address, direction, 3).unwrap();
        }
    }

    #[test]
    fn a_lost_doubled_changed_or_missing_byte_is_noticed() {
        let mut sent = Vec::new();
        send(&mut sent, 200_000).unwrap();
        receive(&mut sent.as_slice(), 200_000).unwrap();
        for at in [0, 65_520, 65_521, 131_042, 199_999] {
            let (mut lost, mut doubled, mut changed) = (sent.clone(), sent.clone(), sent.clone());
            lost.remove(at);
            lost.push(0);
            doubled.insert(at, sent[at]);
            changed[at] ^= 1;
            for (how, bytes) in [("lost", lost), ("doubled", doubled), ("changed", changed)] {
                // If the last byte is doubled, there is one too many, and nobody reads it.
                let unseen = how == "doubled" && sent[at..].iter().all(|&byte| byte == sent[at]);
                assert_eq!(receive(&mut bytes.as_slice(), 200_000).is_err(), !unseen, "{how} at {at}");
            }
        }
        assert!(receive(&mut &sent[..199_999], 200_000).is_err());
    }
}
