//! A client that copies files and believes what it reads. OpenSSH's own checks some of it; others check nothing.

use crate::ways_back::target::{SLUG, Target, copy_variables};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The longest packet that it makes room for.
const LONGEST: u32 = 64 << 20;

/// A connection to a guest's file server.
pub struct Client {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

/// What it was answered.
pub enum Said {
    /// A packet: its kind and what follows the number of the request.
    Packet(u8, Vec<u8>),
    /// A packet of this length, for which there is no room.
    TooLong(u32),
    /// The connection has ended.
    Nothing,
}

/// Writes the bottle's entry for ssh, and returns the file.
pub fn entry(target: &Target) -> Result<PathBuf> {
    let said = target.operator(&["ssh-config", SLUG])?;
    ensure!(said.is_success(), "{}", said.text());
    target.put("ssh-config", said.output)
}

/// Returns a program of OpenSSH's that knows the bottle.
pub fn openssh(target: &Target, program: &str) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg("-F").arg(entry(target)?).current_dir(target.path("project"));
    copy_variables(&target.command(&[]), &mut command);
    Ok(command)
}

impl Client {
    /// Connects.
    pub fn connect(target: &Target) -> Result<Self> {
        let mut command = openssh(target, "ssh")?;
        command.args([&format!("{SLUG}.bottle"), "-s", "sftp"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (to, from) =
            (child.stdin.take().context("its input")?, child.stdout.take().context("its output")?);
        let mut client = Self { child, to, from };
        client.to.write_all(b"\0\0\0\x05\x01\0\0\0\x03")?;
        Ok(client)
    }

    /// Hears the server's first packet.
    pub fn begun(&mut self) -> Result<()> {
        ensure!(matches!(self.hear()?, Said::Packet(2, _)), "the guest serves no files");
        Ok(())
    }

    /// Asks for something, and returns the answer.
    pub fn ask(&mut self, kind: u8, parts: &[u8]) -> Result<Said> {
        let body = [&[kind, 0, 0, 0, 1][..], parts].concat();
        self.to.write_all(&u32::try_from(body.len())?.to_be_bytes())?;
        self.to.write_all(&body)?;
        self.hear()
    }

    /// Opens a folder, and returns the first answer to what is in it.
    pub fn list(&mut self) -> Result<Said> {
        self.ask(11, b"\0\0\0\x01/")?;
        self.again()
    }

    /// Asks for more names of the folder.
    pub fn again(&mut self) -> Result<Said> {
        self.ask(12, b"\0\0\0\x01h")
    }

    /// Hears a packet.
    pub fn hear(&mut self) -> Result<Said> {
        let mut head = [0; 4];
        if self.from.read_exact(&mut head).is_err() {
            return Ok(Said::Nothing);
        }
        let len = u32::from_be_bytes(head);
        if len > LONGEST {
            return Ok(Said::TooLong(len));
        }
        let mut packet = vec![0; len as usize];
        if self.from.read_exact(&mut packet).is_err() || packet.len() < 5 {
            return Ok(Said::Nothing);
        }
        Ok(Said::Packet(packet[0], packet.split_off(5)))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
