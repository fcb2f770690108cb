//! Refuses at once, inside the guest, whatever does not go to a door, and reports it to the keeper.
//!
//! None of this protects anybody: no frame leaves the guest, whether the guard is asked or not. It keeps a
//! refusal from being a hang, and lets the operator see it.

use super::tap::Tap;
use bottle_core::guard::{Guard, Refusal, Reply, Verdict};
use bottle_core::report::{MAX_REPORT, Report};
use bottle_core::wire::{HEADER_LEN, MAX_FRAME};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many reports may wait. More are dropped, so that the agent is not held up.
const WAITING: usize = 256;

/// Where reports go: to the keeper, while there is one.
#[derive(Clone, Default)]
pub struct Reports(Arc<Mutex<Option<UnixStream>>>);

/// A report on its way.
type Waiting = (Refusal, Vec<u8>);

impl Reports {
    /// Sends reports to this keeper from now on, or to none.
    pub fn go_to(&self, keeper: Option<UnixStream>) {
        *self.lock() = keeper;
    }

    fn send(&self, waiting: &Receiver<Waiting>) {
        let mut buffer = [0; HEADER_LEN + MAX_REPORT];
        while let Ok((refusal, frame)) = waiting.recv() {
            let keeper = self.lock().as_ref().and_then(|keeper| keeper.try_clone().ok());
            if let Some(mut keeper) = keeper {
                // Whoever waits for the keeper's end notices that it is gone.
                let _ = keeper.write_all(Report { refusal, frame: &frame }.write(&mut buffer));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers every frame of the guest with the guard's refusal, forever.
///
/// # Errors
/// Returns an error if no thread can be started.
pub fn start(tap: Arc<Tap>, guard: Guard, reports: Reports) -> io::Result<()> {
    let (sender, waiting) = sync_channel(WAITING);
    thread::Builder::new().name("reports".to_owned()).spawn(move || reports.send(&waiting))?;
    let mut frame = vec![0; MAX_FRAME];
    let refuse = move || while refuse_next(&tap, &mut frame, &guard, &sender).is_ok() {};
    thread::Builder::new().name("refuse".to_owned()).spawn(refuse)?;
    Ok(())
}

/// Waits for frames, and answers all that have arrived.
fn refuse_next(tap: &Tap, frame: &mut [u8], guard: &Guard, reports: &SyncSender<Waiting>) -> io::Result<()> {
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(tap, PollFlags::IN)], None))?;
    let mut reply = Reply::default();
    loop {
        let len = match tap.receive(frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            received => received?,
        };
        let answer = match guard.from_guest(&frame[..len], &mut reply) {
            // The frame is for a neighbour, and there is none: the gateway's hardware address is known.
            Verdict::Forward => None,
            Verdict::Answer(answer) => Some(answer),
            Verdict::Refuse(refusal, answer) => {
                let _ = reports.try_send((refusal, frame[..len.min(MAX_REPORT)].to_vec()));
                answer
            }
        };
        if let Some(answer) = answer {
            // The kernel refuses a frame while the interface is down.
            let _ = tap.send(answer);
        }
    }
}
