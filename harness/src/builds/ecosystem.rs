//! How each ecosystem's own client gets a package, and how a program that uses it is run.

use crate::package_registry::Registry;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::process::Command;

/// An ecosystem whose registry this machine may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    /// cargo.
    Rust,
    /// pip.
    Python,
    /// npm.
    Node,
    /// apt, and `dpkg -x`: the stand-in's own programs are read-only.
    Debian,
}

impl Ecosystem {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Python, Self::Node, Self::Debian];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Node => "node",
            Self::Debian => "debian",
        }
    }

    /// Returns its registry.
    pub fn registry(self) -> Registry {
        match self {
            Self::Rust => Registry::Cargo,
            Self::Python => Registry::Pip,
            Self::Node => Registry::Npm,
            Self::Debian => Registry::Apt,
        }
    }

    /// Returns what else its guest needs, for `[guest]`.
    ///
    /// # Errors
    /// Returns an error if the compiler is not here.
    pub fn guest(self) -> Result<String> {
        if self != Self::Rust {
            return Ok(String::new());
        }
        let output = Command::new("rustc").args(["--print", "sysroot"]).output()?;
        ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr));
        let sysroot = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok(format!("[[guest.volumes]]\nhost = {sysroot:?}\nguest = \"/opt/rust\"\n"))
    }

    /// Returns the script that installs `$PACKAGE` in `$VERSION` and runs `$TEST`.
    pub fn script(self) -> &'static str {
        match self {
            Self::Rust => {
                "export PATH=/opt/rust/bin:$PATH CARGO_HOME=/var/tmp/cargo CARGO_TARGET_DIR=/var/tmp/target\n\
                 mkdir -p /var/tmp/$PACKAGE/src && cd /var/tmp/$PACKAGE && cp $TEST src/main.rs\n\
                 printf '[package]\\nname = \"tries-%s\"\\nedition = \"2021\"\\n' $PACKAGE > Cargo.toml\n\
                 cargo add --quiet $PACKAGE@=$VERSION && cargo run --quiet\n"
            }
            Self::Python => {
                "mkdir -p /var/tmp/$PACKAGE && cd /var/tmp/$PACKAGE && /usr/bin/python3 -m venv venv\n\
                 venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir $PACKAGE==$VERSION\n\
                 venv/bin/python $TEST\n"
            }
            Self::Node => {
                "mkdir -p /var/tmp/$PACKAGE && cd /var/tmp/$PACKAGE && cp $TEST test.mjs && echo '{}' > package.json\n\
                 npm install --silent --no-fund --no-audit --cache /var/tmp/npm $PACKAGE@$VERSION && node test.mjs\n"
            }
            Self::Debian => {
                "apt() { apt-get -qq -o Dir::State=/var/tmp/apt -o Dir::State::status=/var/tmp/apt/status \
                 -o Dir::Cache=/var/tmp/apt/cache -o APT::Sandbox::User=root -o Dir::Etc::sourceparts=/etc/apt/sources.list.d \"$@\"; }\n\
                 mkdir -p /var/tmp/apt/lists/partial /var/tmp/apt/cache/archives/partial && touch /var/tmp/apt/status\n\
                 [ -e /var/tmp/apt/updated ] || { apt update && touch /var/tmp/apt/updated; }\n\
                 apt clean && apt install --yes --no-install-recommends --download-only dash $PACKAGE > /dev/null\n\
                 rm -rf /var/tmp/root && mkdir /var/tmp/root\n\
                 for one in /var/tmp/apt/cache/archives/*.deb; do dpkg -x $one /var/tmp/root; done\n\
                 cp $TEST /var/tmp/root/test.sh && chroot /var/tmp/root /bin/dash -eu /test.sh\n"
            }
        }
    }
}
