//! Where a bottle's files are.
//!
//! A bottle has two folders. The state folder is private (0700, its files 0600): the plan, the rendered
//! files, the log, the locks. The runtime folder holds what the virtual machine's process must reach: the
//! guest socket and the helper. When root starts smolvm, that process runs as its own user.
//!
//! [`Home`] has the folders of all bottles, and [`Folder`] those of one bottle. [`Lock`] keeps two commands
//! apart.

mod claim;
mod files;
mod filesystem;
mod folder;
mod home;
mod lock;
mod owner;

pub use files::{
    other_version, parse_json, passable_dir, private_dir, read_short, remove_dir, remove_file, remove_tree,
    write_private,
};
pub use filesystem::network_filesystem;
pub use folder::Folder;
pub use home::{Home, choose, chosen};
pub use lock::Lock;
pub use owner::{Owner, Relation};
