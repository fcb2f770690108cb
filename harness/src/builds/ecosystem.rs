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
    /// Go, with libraries as Debian packages them. So are all that follow.
    Go,
    /// Java.
    Java,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// C++.
    Cpp,
    /// Perl.
    Perl,
}

impl Ecosystem {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rust,
        Self::Python,
        Self::Node,
        Self::Debian,
        Self::Go,
        Self::Java,
        Self::Ruby,
        Self::Php,
        Self::Cpp,
        Self::Perl,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Node => "node",
            Self::Debian => "debian",
            Self::Go => "go",
            Self::Java => "java",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Cpp => "cpp",
            Self::Perl => "perl",
        }
    }

    /// Returns what Debian calls the programs that build and test a project, and the commands that do it with a project in
    /// `/project/test`.
    fn toolchain(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Rust | Self::Python | Self::Node => return None,
            Self::Debian => ("", "/bin/dash -eu /project/test"),
            Self::Go => (
                "golang-go",
                "export GO111MODULE=off GOPATH=/project:/usr/share/gocode GOCACHE=/tmp/go CGO_ENABLED=0\n\
                 mkdir -p /project/src/tries && cp /project/test /project/src/tries/tries_test.go && go test tries\n",
            ),
            Self::Java => (
                "openjdk-17-jdk-headless junit4",
                "java=$(echo /usr/lib/jvm/java-17-openjdk-*/bin) && cd /project && cp test Tries.java\n\
                 $java/javac -cp '/usr/share/java/*' Tries.java\n\
                 $java/java -cp '.:/usr/share/java/*' org.junit.runner.JUnitCore Tries\n",
            ),
            Self::Ruby => ("ruby ruby-minitest", "ruby -r minitest/autorun /project/test\n"),
            Self::Php => {
                ("php8.2-cli", "php8.2 -d zend.assertions=1 -d include_path=/usr/share/php /project/test\n")
            }
            Self::Cpp => (
                "g++ make",
                "cd /project && cp test test.cpp && printf 'check: test.out\\n\\t./test.out\\n%%.out: %%.cpp\\n\\tg++ -std=c++17 $< -o $@\\n' > Makefile\n\
                 make check\n",
            ),
            Self::Perl => ("perl", "perl /project/test\n"),
        })
    }

    /// Returns its registry.
    pub fn registry(self) -> Registry {
        match self {
            Self::Rust => Registry::Cargo,
            Self::Python => Registry::Pip,
            Self::Node => Registry::Npm,
            _ => Registry::Apt,
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
    pub fn script(self) -> String {
        if let Some((packages, build)) = self.toolchain() {
            return format!(
                "TOOLCHAIN='{packages}'\n{DEBIAN}\ncat > $root/project/build <<'END'\n{build}\nEND\nchroot $root /bin/dash -eu /project/build\n"
            );
        }
        let script = match self {
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
            _ => "",
        };
        script.to_owned()
    }
}

/// Unpacks a package, with its toolchain and everything that both depend on, into a root folder. No script of a maintainer
/// runs.
const DEBIAN: &str = r#"
apt() { apt-get -qq -o Dir::State=/var/tmp/apt -o Dir::State::status=/var/tmp/apt/status -o Dir::Cache=/var/tmp/apt/cache \
    -o APT::Sandbox::User=root -o Dir::Etc::sourceparts=/etc/apt/sources.list.d "$@"; }
mkdir -p /var/tmp/apt/lists/partial /var/tmp/apt/cache/archives/partial && touch /var/tmp/apt/status
[ -e /var/tmp/apt/updated ] || { apt update && touch /var/tmp/apt/updated; }
apt install --yes --no-install-recommends --download-only dash coreutils $TOOLCHAIN $PACKAGE > /dev/null
root=/var/tmp/root
mkdir -p $root/proc $root/dev $root/tmp
for one in /var/tmp/apt/cache/archives/*.deb; do
    [ -e $one.there ] || { dpkg -x $one $root && touch $one.there; }
done
[ -e $root/proc/self ] || { mount --rbind /proc $root/proc && mount --rbind /dev $root/dev; }
rm -rf $root/project && mkdir $root/project && cp $TEST $root/project/test
"#;
