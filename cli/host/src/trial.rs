//! What a process would try once it was taken over, for the attacks of `make ways-back`.
//!
//! In a debug build `BOTTLE_TEST_TRY` says what to try, and each process that reads hostile bytes tries it
//! where the first of them would arrive. A release build contains none of this.

/// The variable with the attempts, separated by `;`. Each one names the process, the action and its target:
/// `keeper:read:/etc/shadow`.
pub const TRY: &str = "BOTTLE_TEST_TRY";

/// Tries what the environment tells this process to try.
pub fn run(process: &str) {
    #[cfg(all(debug_assertions, target_os = "linux", not(bottle_portable)))]
    tries::all(process);
    #[cfg(not(all(debug_assertions, target_os = "linux", not(bottle_portable))))]
    let _ = process;
}

#[cfg(all(debug_assertions, target_os = "linux", not(bottle_portable)))]
mod tries {
    use super::TRY;
    use crate::control;
    use crate::out;
    use std::fs::{self, OpenOptions};
    use std::io::{self, Read, Seek, SeekFrom, Write};
    use std::process::Command;

    pub fn all(process: &str) {
        let wanted = std::env::var(TRY).unwrap_or_default();
        for attempt in wanted.split(';') {
            let mut words = attempt.splitn(3, ':');
            if words.next() != Some(process) {
                continue;
            }
            let (what, at) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            out::note(format_args!("trying {what} at {at}"));
            match attempt_at(what, at) {
                Ok(got) => out::note(format_args!("tried {what}: done: {got}")),
                Err(error) => out::note(format_args!("tried {what}: {error}")),
            }
        }
    }

    fn attempt_at(what: &str, at: &str) -> io::Result<String> {
        match what {
            "read" => Ok(format!("{} bytes", fs::read(at)?.len())),
            "write" => OpenOptions::new().append(true).create(true).open(at)?.write_all(b"tried\n").map(done),
            "write-in" => writing_into(at),
            "link" => std::os::unix::fs::symlink("/etc/shadow", at).map(done),
            "exec" => Command::new("/bin/touch").arg(at).status().map(|status| status.to_string()),
            "exec-other" => exec_memory(at),
            "kill" => signal(number(at)?),
            "connect" => ask_keeper(std::os::unix::net::UnixStream::connect(at)?),
            "channel" => {
                let channel = control::handed_down().ok_or(io::ErrorKind::NotFound)?;
                ask_keeper(channel.map_err(io::Error::other)?)
            }
            "trace" => trace(number(at)?),
            "memory" => memory(number(at)?, false),
            "memory-write" => memory(number(at)?, true),
            "vm-read" => vm_read(number(at)?),
            "raw" => call(|| unsafe_socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
            "packet" => call(|| unsafe_socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
            "namespace" => rustix_unshare(),
            "chown" => std::os::unix::fs::chown(at, Some(12345), Some(12345)).map(done),
            "listen" => std::net::TcpListener::bind(at).map(|_| done(())),
            "dial" => std::net::TcpStream::connect(at).map(|_| done(())),
            "code" => code(),
            _ => Err(io::Error::other("no such attempt")),
        }
    }

    fn done((): ()) -> String {
        "done".to_owned()
    }

    fn number(text: &str) -> io::Result<i32> {
        if let Ok(number) = text.parse() {
            return Ok(number);
        }
        // Find a helper of this process by its name, because its number is not known in advance.
        let parent = format!("PPid:\t{}\n", std::process::id());
        let found = fs::read_dir("/proc")?.flatten().find(|entry| {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let (line, status) = (read("cmdline"), read("status"));
            line.split(|byte| *byte == 0).nth(1) == Some(text.as_bytes())
                && String::from_utf8_lossy(&status).contains(&parent)
        });
        let name = found.ok_or(io::ErrorKind::NotFound)?.file_name();
        name.to_string_lossy().parse().map_err(io::Error::other)
    }

    fn writing_into(folder: &str) -> io::Result<String> {
        fs::write(format!("{folder}/tried"), "tried\n").map(done)
    }

    fn exec_memory(at: &str) -> io::Result<String> {
        let file = rustix::fs::memfd_create("tried", rustix::fs::MemfdFlags::empty())?;
        io::copy(&mut fs::File::open("/bin/touch")?, &mut fs::File::from(file.try_clone()?))?;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        Command::new(path).arg(at).status().map(|status| status.to_string())
    }

    fn signal(pid: i32) -> io::Result<String> {
        let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        Ok(done(()))
    }

    /// Tells a keeper to let through whatever this attacker wants.
    fn ask_keeper(mut stream: std::os::unix::net::UnixStream) -> io::Result<String> {
        let ask = r#"{"ask":"rules","change":{"allow":"tried.example.com"},"by":"attacker"}"#;
        writeln!(stream, "{ask}")?;
        let mut answer = [0; 256];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    }

    fn memory(pid: i32, write: bool) -> io::Result<String> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).ok_or(io::ErrorKind::NotFound)?;
        let end = stack.split(['-', ' ']).nth(1).ok_or(io::ErrorKind::NotFound)?;
        let end = u64::from_str_radix(end, 16).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().read(true).write(write).open(format!("/proc/{pid}/mem"))?;
        file.seek(SeekFrom::Start(end - 4096))?;
        let mut bytes = [0; 4096];
        file.read_exact(&mut bytes)?;
        if write {
            file.seek(SeekFrom::Start(end - 4096))?;
            file.write_all(&bytes)?;
        }
        Ok(done(()))
    }

    fn call(what: impl FnOnce() -> i64) -> io::Result<String> {
        if what() < 0 { Err(io::Error::last_os_error()) } else { Ok(done(())) }
    }

    fn unsafe_socket(family: i32, kind: i32, protocol: i32) -> i64 {
        // SAFETY: the call takes no pointer.
        #[expect(unsafe_code, reason = "no crate opens what bottle never opens")]
        unsafe {
            libc::socket(family, kind, protocol).into()
        }
    }

    fn rustix_unshare() -> io::Result<String> {
        // SAFETY: the call takes no pointer, and the process plays an attacker.
        #[expect(unsafe_code, reason = "no crate does what bottle never does")]
        call(|| unsafe { libc::unshare(libc::CLONE_NEWUTS).into() })
    }

    fn trace(pid: i32) -> io::Result<String> {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: attaching takes no pointer.
        #[expect(unsafe_code, reason = "no crate does what bottle never does")]
        call(|| unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) })
    }

    fn vm_read(pid: i32) -> io::Result<String> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let start = maps.split('-').next().ok_or(io::ErrorKind::NotFound)?;
        let start = usize::from_str_radix(start, 16).map_err(io::Error::other)?;
        let mut bytes = [0_u8; 8];
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let remote = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: bytes.len() };
        // SAFETY: `local` describes `bytes`, which outlives the call, and the kernel checks `remote`.
        #[expect(unsafe_code, reason = "no crate does what bottle never does")]
        let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        // The kernel reports missing memory only to a process that may look.
        match io::Error::last_os_error() {
            error if read < 0 && error.raw_os_error() != Some(libc::EFAULT) => Err(error),
            _ => Ok(done(())),
        }
    }

    /// Requests memory that is both writable and executable.
    fn code() -> io::Result<String> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let all = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
        // SAFETY: a new mapping, at an address chosen by the kernel, that nobody uses.
        #[expect(unsafe_code, reason = "an attacker's step")]
        unsafe {
            mmap_anonymous(std::ptr::null_mut(), 4096, all, MapFlags::PRIVATE)?;
        }
        Ok(done(()))
    }
}
