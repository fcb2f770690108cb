//! Which file systems are shared by several machines.
//!
//! State needs locks that end with their process, sockets, and answers that are true on this machine now. A file
//! system that several machines share gives none of them reliably.

use std::path::Path;

/// File systems that another machine may change: the number by which the kernel names each (`statfs(2)`,
/// `linux/magic.h`, and the sources of those that are not in the kernel), and its name.
const NETWORK: [(u64, &str); 17] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x00C3_6400, "Ceph"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0102_1997, "9p"),
    (0x7461_636F, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x2003_0528, "OrangeFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x564C, "NCP"),
];

/// The same, as mounts name them: 9p passes its server's number on, and everything in FUSE has the number of FUSE.
const MOUNTED: [(&str, &str); 19] = [
    ("nfs", "NFS"),
    ("nfs4", "NFS"),
    ("cifs", "SMB"),
    ("smb3", "SMB"),
    ("lustre", "Lustre"),
    ("ceph", "Ceph"),
    ("9p", "9p"),
    ("virtiofs", "virtiofs"),
    ("beegfs", "BeeGFS"),
    ("gpfs", "GPFS"),
    ("vboxsf", "vboxsf"),
    ("wekafs", "WekaFS"),
    ("fuse.sshfs", "SSHFS"),
    ("fuse.glusterfs", "GlusterFS"),
    ("fuse.ceph", "Ceph"),
    ("fuse.ceph-fuse", "Ceph"),
    ("fuse.juicefs", "JuiceFS"),
    ("fuse.s3fs", "s3fs"),
    ("fuse.rclone", "rclone"),
];

/// What programs mount (FUSE) that shows a folder or a disk of this machine. Everything else that they mount may be anywhere.
const LOCAL: [&str; 8] = [
    "fuse.bindfs",
    "fuse.encfs",
    "fuse.ext4",
    "fuse.fuse-overlayfs",
    "fuse.gocryptfs",
    "fuse.mergerfs",
    "fuse.ntfs-3g",
    "fuse.unionfs-fuse",
];

/// Returns the name of the network file system that a path is on, or will be on once it exists, if it is one.
pub fn network_filesystem(path: &Path) -> Option<&'static str> {
    let there = path.ancestors().find(|above| above.exists())?;
    number(there).and_then(named).or_else(|| {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        mounted(&mounts, device(there)?)
    })
}

/// Returns the name of the network file system that is mounted as this device, if it is one.
fn mounted(mounts: &str, (major, minor): (u32, u32)) -> Option<&'static str> {
    let number = format!("{major}:{minor}");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    let (_, rest) = line.split_once(" - ")?;
    let kind = rest.split(' ').next()?;
    let known = MOUNTED.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name);
    let is_fuse = kind == "fuse" || kind.starts_with("fuse.");
    known.or_else(|| (is_fuse && !LOCAL.contains(&kind)).then_some("a FUSE file system"))
}

/// Returns whether a folder keeps the moment at which it was made. On an overlay, a folder of a lower layer gets a new
/// one with the first change in it.
pub fn keeps_birth(path: &Path) -> bool {
    const OVERLAY: u64 = 0x794C_7630;
    number(path) != Some(OVERLAY)
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
fn number(path: &Path) -> Option<u64> {
    // The field is signed on some machines, and only its lower half is a number.
    u64::try_from(i128::from(rustix::fs::statfs(path).ok()?.f_type) & 0xFFFF_FFFF).ok()
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
fn device(path: &Path) -> Option<(u32, u32)> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    Some((rustix::fs::major(device), rustix::fs::minor(device)))
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
fn number(_: &Path) -> Option<u64> {
    None
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
fn device(_: &Path) -> Option<(u32, u32)> {
    None
}

fn named(number: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_several_machines_are_known_and_local_ones_are_not() {
        assert_eq!(named(0x6969), Some("NFS"));
        assert_eq!(named(0x0BD0_0BD0), Some("Lustre"));
        // ext4, XFS, btrfs, tmpfs, overlayfs, ZFS.
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(named(local), None, "{local:x}");
        }
        let fuse = |kind: &str| mounted(&format!("50 24 0:40 / /mnt rw - fuse.{kind} x rw\n"), (0, 40));
        assert_eq!(fuse("sshfs"), Some("SSHFS"));
        assert_eq!(fuse("mfs"), Some("a FUSE file system"));
        assert_eq!(fuse("fuse-overlayfs"), None);
        let mounts = "24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
            40 24 0:35 / /job rw shared:2 - 9p job rw,trans=virtio\n\
            41 24 0:36 / /home/a\\040b rw - nfs4 server:/home rw\n";
        assert_eq!(mounted(mounts, (0, 35)), Some("9p"));
        assert_eq!(mounted(mounts, (0, 36)), Some("NFS"));
        assert_eq!(mounted(mounts, (8, 1)), None);
        assert_eq!(mounted(mounts, (0, 99)), None);
        // What is not there yet will be on its parent's.
        assert_eq!(network_filesystem(Path::new("/proc/no/such/folder")), None);
        assert!(number(Path::new("/proc")).is_some());
    }
}
