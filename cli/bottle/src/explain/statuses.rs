//! How a command ended.

use bottle_host::failure::Kind;

/// Returns a status's paragraph.
pub fn paragraph(kind: Kind) -> &'static str {
    match kind {
        Kind::Negative => {
            "The command worked, and its answer is no: `check` found the destination closed, `verify` found a way past the doors, `audit --check` a line that is not as it was written, or `plan --diff` a difference. The output says which. A script can tell this apart from an error by the status."
        }
        Kind::Usage => {
            "Something in the command line or in bottle.toml is wrong, and nothing was started. The message names the option, or the file with line, column and key, and what belongs there. `--help` after any command and docs/configuration.md have every option and key."
        }
        Kind::Incomplete => {
            "`audit --check` found every line as it was written, and older lines are gone because they were rotated away. That is no sign of tampering: a log of this length keeps its last twelve files. The message says how many lines, and from when to when."
        }
        Kind::IsFolder => {
            "A copy from or to `-` is the content of one file, and in the guest there is a folder at that path. `bottle cp my-project:/folder .` copies folders, too."
        }
        Kind::NoUser => {
            "The guest has no user or group of the name that `--user` gave. Its /etc/passwd has the names; a number works without one."
        }
        Kind::NotFound => {
            "There is no such file or folder in the guest, or a folder on the way is missing: `--parents` makes those that a copy needs. Relative paths begin at the guest's working directory."
        }
        Kind::TooLarge => {
            "The file is larger than what was asked for, or than bottle copies unasked, and nothing of it was kept. `--max-size` allows more."
        }
        Kind::NoPermission => {
            "The user that the command runs as may not read or write there, in the guest. `--user` runs it as somebody else."
        }
        Kind::NoBottle => {
            "There is no bottle of this name, or it is not running and the command needs one that is. `bottle ls --all` lists them, and `bottle up` starts the one of the project here. A similar name is suggested if there is one."
        }
        Kind::Unavailable => {
            "This machine lacks something that bottle needs, has it in a version that is too old, or does not permit it. Nothing was started. `bottle doctor` lists everything with the command that helps, and `bottle doctor --fix` carries out what it safely can."
        }
        Kind::Internal => {
            "Something went wrong that none of the other statuses describes: a file that cannot be read, a program that ended. The message has the cause. `bottle doctor` checks this machine, and the keeper's own output is in keeper.log in the bottle's state folder."
        }
        Kind::Busy => {
            "The bottle is in use, exists already, or belongs to another project; or the request would lose its disk or its changes, and nobody agreed to that. The message names the command that is under way, or the option that agrees. Nothing was changed."
        }
        Kind::Output => {
            "The output could not be written, most often because the disk is full. What the command did apart from printing is done. Free some space where the output goes, or send it elsewhere, and run the command again."
        }
        Kind::Guest => {
            "The guest did not start, or did not answer in time. On a machine that emulates virtualization one start in twenty fails; trying again may help. `bottle doctor` checks this machine, and SMOLVM_START_TIMEOUT_SECS makes smolvm wait longer."
        }
        Kind::ReaderGone => {
            "Nobody reads the output any more, as when it goes through `head`. The command ended quietly, with the status of a program that SIGPIPE ends. Nothing has to be done."
        }
    }
}
