//! What is wrong with a `bottle.toml`, in words that need no knowledge of Rust.

use bottle::config::paths::{Disk, Site};
use bottle::config::sensitive::Sensitive;
use bottle::config::{Source, parse};
use std::path::{Path, PathBuf};

/// A disk on which everything is there.
struct Everything;

impl Disk for Everything {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn is_repository(&self, _: &Path) -> bool {
        true
    }

    fn sensitive(&self) -> Vec<Sensitive> {
        Vec::new()
    }
}

/// What is said of a file: the first line without its start, and the help.
fn said(text: &str) -> (String, String) {
    let source = Source::new(Path::new("f"), text);
    let site = Site { project: Some("/p".into()), disk: &Everything, insisted: false };
    let whole = parse(&source, &site).map(|_| ()).expect_err(text).to_string();
    let first = whole.lines().next().unwrap_or_default();
    let help = whole.lines().find_map(|line| line.strip_prefix("  help: ")).unwrap_or_default();
    (first.strip_prefix("error: f:").unwrap_or(first).to_owned(), help.to_owned())
}

/// A file, what is said of it, and what helps.
type Row = (&'static str, &'static str, &'static str);

/// Words of Rust, of serde and of the parser that mean nothing to a person who writes TOML.
const STRANGE: [&str; 16] = [
    "invalid ",
    "expected",
    "variant",
    "field",
    "a sequence",
    "struct",
    "unit",
    " map",
    "literal",
    "u8",
    "u16",
    "u32",
    "u64",
    "i128",
    "overflow",
    "recurs",
];

#[track_caller]
fn check(rows: &[Row]) {
    for (text, what, help) in rows {
        assert_eq!(said(text), ((*what).to_owned(), (*help).to_owned()), "{text:?}");
        let strange = STRANGE.iter().find(|word| what.contains(**word) || help.contains(**word));
        assert_eq!(strange, None, "{text:?}");
    }
}

#[test]
fn a_value_of_another_type_is_named_with_what_belongs_there() {
    check(&[
        ("slug = 1\n", "1:8: `slug` must be text in quotes, not the number 1", ""),
        ("slug = [\"a\"]\n", "1:8: `slug` must be text in quotes, not a list", ""),
        ("slug = { a = 1 }\n", "1:8: `slug` must be text in quotes, not a table", ""),
        ("slug = 2020-01-01\n", "1:8: `slug` must be text in quotes, not a date", ""),
        ("slug = 1.5\n", "1:8: `slug` must be text in quotes, not the number 1.5", ""),
        ("slug = true\n", "1:8: `slug` must be text in quotes, not true", ""),
        ("audit = 1\n", "1:9: `audit` must be text in quotes", ""),
        ("audit = { required = 1 }\n", "1:22: `audit.required` cannot have this value", ""),
        ("audit = []\n", "1:9: `audit` must be text in quotes", ""),
        ("guest = 1\n", "1:9: `guest` must be a table, not the number 1", ""),
        ("guest = []\n", "1:9: `guest` must be a table, not a list", ""),
        ("[[guest]]\n", "1:1: `guest` must be a table, not a list", ""),
        ("guest = [\"i\", 1]\n", "1:9: `guest` must be a table, not a list", ""),
        (
            "[[upstream]]\nheaders.x-key = [\"A\"]\n",
            "2:17: `upstream.headers.x-key` must be a table, not a list",
            "",
        ),
        (
            "[guest]\ncpus = \"much\"\n",
            "2:8: `guest.cpus` must be a whole number from 0 to 255, not the text \"much\"",
            "",
        ),
        (
            "[[guest.volumes]]\nwritable = \"true\"\n",
            "2:12: `guest.volumes.writable` must be true or false, not the text \"true\"",
            "leave out the quotes",
        ),
        ("a = 10:99\n", "1:5: this is not a time", "put text in quotes"),
        (
            "[guest]\ncpus = \"4\"\n",
            "2:8: `guest.cpus` must be a whole number from 0 to 255, not the text \"4\"",
            "leave out the quotes",
        ),
        (
            "[guest]\ncpus = 300\n",
            "2:8: `guest.cpus` must be a whole number from 0 to 255, not the number 300",
            "",
        ),
        (
            "[guest]\ncpus = -1\n",
            "2:8: `guest.cpus` must be a whole number from 0 to 255, not the number -1",
            "",
        ),
        (
            "[guest]\ncpus = 1.5\n",
            "2:8: `guest.cpus` must be a whole number from 0 to 255, not the number 1.5",
            "",
        ),
        (
            "[guest]\nmemory = 5000000000\n",
            "2:10: `guest.memory` must be a whole number from 0 to 4294967295, not the number 5000000000",
            "",
        ),
        (
            "[guest]\nmemory = 99999999999999999999\n",
            "2:10: `guest.memory` must be a whole number from 0 to 4294967295, not the number 99999999999999999999",
            "",
        ),
        (
            "[guest]\nmemory = 999999999999999999999999999999999999999999999\n",
            "2:10: `guest.memory` must be a much smaller number",
            "",
        ),
        ("[guest]\nimage = 1\n", "2:9: `guest.image` must be text in quotes, not the number 1", ""),
        ("[guest]\nworkdir = false\n", "2:11: `guest.workdir` must be text in quotes, not false", ""),
        ("[guest]\nenv = \"A=b\"\n", "2:7: `guest.env` must be a table, not the text \"A=b\"", ""),
        ("[guest]\nenv = { A = 1 }\n", "2:13: `guest.env.A` must be text in quotes, not the number 1", ""),
        (
            "[guest]\nenv = { \"A B\" = \"c\" }\n",
            "2:9: the name \"A B\" must be a letter or '_', then letters, digits or '_'",
            "",
        ),
        (
            "[guest]\nvolumes = \"/a:/b\"\n",
            "2:11: `guest.volumes` must be a list, not the text \"/a:/b\"",
            "write a list in brackets: [\"one\", \"two\"]",
        ),
        (
            "[guest.volumes]\nhost = \"a\"\n",
            "1:1: `guest.volumes` must be a list, not a table",
            "write `[[guest.volumes]]` above its keys",
        ),
        (
            "[[guest.volumes]]\nhost = 1\nguest = \"/x\"\n",
            "2:8: `guest.volumes.host` must be text in quotes, not the number 1",
            "",
        ),
        (
            "[[guest.volumes]]\nhost = \"a\"\nguest = \"/x\"\nwritable = \"yes\"\n",
            "4:12: `guest.volumes.writable` must be true or false, not the text \"yes\"",
            "",
        ),
        ("[workspace]\nmode = 1\n", "2:8: `workspace.mode` must be text in quotes", ""),
        (
            "[egress]\nallow = \"a.test\"\n",
            "2:9: `egress.allow` must be a list, not the text \"a.test\"",
            "write a list in brackets: [\"one\", \"two\"]",
        ),
        (
            "[egress]\nallow = [1]\n",
            "2:10: an item of `egress.allow` must be text in quotes, not the number 1",
            "",
        ),
        (
            "[egress]\nallow = [\"a.test\", \"1.2.3.4\"]\n",
            "2:9: \"1.2.3.4\" is an address; rules name hosts",
            "",
        ),
        (
            "[egress]\nallow = { \"a.test\" = true }\n",
            "2:9: `egress.allow` must be a list, not a table",
            "write `[[egress.allow]]` above its keys",
        ),
        (
            "[egress]\nhosts = { \"a.test\" = 1 }\n",
            "2:22: `egress.hosts.\"a.test\"` must be an address in quotes, like \"127.0.0.1\", not the number 1",
            "",
        ),
        (
            "[egress]\nhosts = { \"a.test\" = \"x\" }\n",
            "2:22: `egress.hosts.\"a.test\"` must be an address in quotes, like \"127.0.0.1\"",
            "",
        ),
        (
            "[egress]\nhosts = { \"1.2.3.4\" = \"1.1.1.1\" }\n",
            "2:11: \"1.2.3.4\" is an address; rules name hosts",
            "",
        ),
        ("[egress]\nlimits = 1\n", "2:10: `egress.limits` must be a table, not the number 1", ""),
        (
            "[egress.limits]\nconnections = 70000\n",
            "2:15: `egress.limits.connections` must be a whole number from 0 to 65535, not the number 70000",
            "",
        ),
        (
            "[egress.limits]\nbytes_per_second = -1\n",
            "2:20: `egress.limits.bytes_per_second` must be a whole number, 0 or more, not the number -1",
            "",
        ),
        (
            "pipelock = \"127.0.0.1:1\"\n",
            "1:12: `pipelock` must be a table, not the text \"127.0.0.1:1\"",
            "",
        ),
        (
            "[pipelock]\naddress = 8888\n",
            "2:11: `pipelock.address` must be an address and a port in quotes, like \"127.0.0.1:8888\", not the number 8888",
            "",
        ),
        (
            "[pipelock]\naddress = \"8888\"\n",
            "2:11: `pipelock.address` must be an address and a port in quotes, like \"127.0.0.1:8888\"",
            "",
        ),
        (
            "[supervise]\ncommand = \"x\"\n",
            "2:11: `supervise.command` must be a list, not the text \"x\"",
            "write a list in brackets: [\"one\", \"two\"]",
        ),
        (
            "[notify]\ncommand = []\n",
            "1:1: the command of `[notify]` is empty",
            "`command = [\"notify-send\", \"bottle\"]` names a program and its arguments",
        ),
        (
            "[supervise]\ncommand = [1]\n",
            "2:12: an item of `supervise.command` must be text in quotes, not the number 1",
            "",
        ),
        ("[[git-gate.repo]]\nname = \"A\"\n", "2:8: a slug may contain only a-z, 0-9 and '-', not 'A'", ""),
        (
            "[git-gate.repo]\nname = \"a\"\n",
            "1:1: `git-gate.repo` must be a list, not a table",
            "write `[[git-gate.repo]]` above its keys",
        ),
        (
            "[[git-gate.repo]]\npolicy = { rules = [{ ref = \"main\", verdict = \"ask\" }] }\n",
            "2:29: \"main\" is not a ref such as \"refs/heads/main\" or \"refs/heads/agent/*\"",
            "",
        ),
        (
            "[[git-gate.repo]]\npolicy = { max_mib = \"1\", force = true }\n",
            "2:22: `git-gate.repo.policy.max_mib` must be a whole number from 0 to 4294967295, not the text \"1\"",
            "leave out the quotes",
        ),
        (
            "[[git-gate.repo]]\npolicy = { force = 1 }\n",
            "2:20: `git-gate.repo.policy.force` must be true or false, not the number 1",
            "",
        ),
        (
            "upstream = \"x\"\n",
            "1:12: `upstream` must be a list, not the text \"x\"",
            "write a list in brackets: [\"one\", \"two\"]",
        ),
        (
            "[upstream]\npreset = \"github\"\n",
            "1:1: `upstream` must be a list, not a table",
            "write `[[upstream]]` above its keys",
        ),
        ("[[upstream]]\npreset = 1\n", "2:10: `upstream.preset` must be text in quotes", ""),
        (
            "[[upstream]]\nheaders = { x-key = \"s\" }\n",
            "2:21: `upstream.headers.x-key` must be a table, not the text \"s\"",
            "",
        ),
        (
            "[[upstream]]\nheaders = { x-key = { from_command = \"s\" } }\n",
            "2:38: `upstream.headers.x-key.from_command` must be a list, not the text \"s\"",
            "write a list in brackets: [\"one\", \"two\"]",
        ),
        (
            "[[upstream]]\nenv = { A = 1 }\n",
            "2:13: `upstream.env.A` must be text in quotes, not the number 1",
            "",
        ),
        (
            "[[upstream]]\nheaders = { \"x y\" = { from_env = \"A\" } }\n",
            "2:13: \"x y\" is not the name of a header",
            "",
        ),
    ]);
}

#[test]
fn a_word_that_is_none_of_the_known_ones_gets_the_nearest() {
    check(&[
        (
            "[workspace]\nmode = \"readonly\"\n",
            "2:8: `workspace.mode` must be \"copy\", \"read-only\", \"read-write\" or \"none\", not \"readonly\"",
            "did you mean \"read-only\"?",
        ),
        (
            "[network]\nstack = \"socket\"\n",
            "2:9: `network.stack` must be \"auto\", \"gvproxy\" or \"sockets\", not \"socket\"",
            "did you mean \"sockets\"?",
        ),
        (
            "[network]\nstack = \"kernel\"\n",
            "2:9: `network.stack` must be \"auto\", \"gvproxy\" or \"sockets\", not \"kernel\"",
            "\"sockets\" took its place: as fast, and without gvproxy and bubblewrap",
        ),
        (
            "[network]\nstack = \"\"\n",
            "2:9: `network.stack` must be \"auto\", \"gvproxy\" or \"sockets\", not \"\"",
            "",
        ),
        (
            "[[git-gate.repo]]\npolicy = { rules = [{ ref = \"refs/heads/main\", verdict = \"alow\" }] }\n",
            "2:58: `git-gate.repo.policy.rules.verdict` must be \"allow\", \"ask\" or \"deny\", not \"alow\"",
            "did you mean \"allow\"?",
        ),
        (
            "[[upstream]]\npreset = \"gitub\"\n",
            "2:10: `upstream.preset` must be \"anthropic\", \"openai\", \"gemini\", \"github\", \"claude\" or \"codex\", not \"gitub\"",
            "did you mean \"github\"?",
        ),
    ]);
}

#[test]
fn an_unknown_key_gets_the_nearest_or_all_of_its_table() {
    check(&[
        ("slog = 1\n", "1:1: there is no key or table `slog`", "did you mean `slug`?"),
        ("[gitgate]\n", "1:2: there is no key or table `gitgate`", "did you mean `git-gate`?"),
        (
            "[sandbox]\n",
            "1:2: there is no key or table `sandbox`",
            "the keys here are `slug`, `agent`, `audit`, `allow-sensitive`, `network`, `guest`, `workspace`, `egress`, `pipelock`, `git-gate`, `supervise`, `notify`, `upstream`, `publish` and `pool`",
        ),
        (
            "[guest]\nenvironment = 1\n",
            "2:1: there is no key `environment` in `guest`",
            "the keys here are `image`, `cpus`, `memory`, `workdir`, `env`, `ca`, `setup`, `setup-allow`, `setup-keep` and `volumes`",
        ),
        ("[egres]\nallow=[]\n", "1:2: there is no key or table `egres`", "did you mean `egress`?"),
        (
            "port = 1\n",
            "1:1: there is no key or table `port`",
            "the keys here are `slug`, `agent`, `audit`, `allow-sensitive`, `network`, `guest`, `workspace`, `egress`, `pipelock`, `git-gate`, `supervise`, `notify`, `upstream`, `publish` and `pool`",
        ),
        ("[network]\nstak = 1\n", "2:1: there is no key `stak` in `network`", "did you mean `stack`?"),
        (
            "[egress.limits]\nidle_second = 1\n",
            "2:1: there is no key `idle_second` in `egress.limits`",
            "did you mean `idle_seconds`?",
        ),
        (
            "[[git-gate.repo]]\npolicy = { denypaths = [] }\n",
            "2:12: there is no key `denypaths` in `git-gate.repo.policy`",
            "did you mean `deny_paths`?",
        ),
        (
            "[[upstream]]\nheaders = { x-key = { from_evn = \"s\" } }\n",
            "2:23: there is no key `from_evn` in `upstream.headers.x-key`",
            "did you mean `from_env`?",
        ),
    ]);
}

#[test]
fn a_missing_key_is_named_with_its_table() {
    check(&[
        (
            "[[guest.volumes]]\nhost = \"a\"\n",
            "1:1: `guest.volumes` needs the key `guest`",
            "add `guest = ...` to it",
        ),
        (
            "[[guest.volumes]]\nguest = \"/x\"\n",
            "1:1: `guest.volumes` needs the key `host`",
            "add `host = ...` to it",
        ),
        (
            "[[git-gate.repo]]\npolicy = { rules = [{ ref = \"refs/heads/main\" }] }\n",
            "2:21: `git-gate.repo.policy.rules` needs the key `verdict`",
            "add `verdict = ...` to it",
        ),
        (
            "[[git-gate.repo]]\npolicy = { rules = [{ verdict = \"ask\" }] }\n",
            "2:21: `git-gate.repo.policy.rules` needs the key `ref`",
            "add `ref = ...` to it",
        ),
    ]);
}

#[test]
fn what_is_there_twice_is_pointed_at() {
    check(&[
        ("slug = \"t\"\nslug = \"t\"\n", "2:1: `slug` appears twice", "keep one of the two"),
        ("[guest]\n[guest]\n", "2:2: `guest` appears twice", "keep one of the two"),
        ("[guest]\ncpus = 1\ncpus.x = 2\n", "3:1: this has a value already, so it cannot be a table", ""),
        ("[guest]\nenv = { A = \"1\" }\n[guest.env]\n", "3:8: `env` appears twice", "keep one of the two"),
    ]);
}

#[test]
fn a_file_that_is_not_toml_is_told_so_in_plain_words() {
    check(&[
        ("slug = \"t\n", "1:10: `\"` is missing at the end of the text", ""),
        ("slug = 't\n", "1:10: `'` is missing at the end of the text", ""),
        ("slug = \"\"\"t\n", "2:1: `\"\"\"` is missing at the end of the text", ""),
        ("slug = '''t\n", "2:1: `'''` is missing at the end of the text", ""),
        ("slug\n", "1:5: this key has no value", "write `key = value`"),
        ("slug =\n", "1:7: a value is missing here", ""),
        ("= 1\n", "1:1: a key is missing here", ""),
        ("slug = t\n", "1:8: this is not a value", "write `true` or `false`, or put text in quotes"),
        ("slug = = 1\n", "1:8: there is one `=` too many", ""),
        ("[guest\n", "1:7: `]` is missing at the end of the table's name", ""),
        ("[[upstream]\n", "1:12: `]]` is missing at the end of the table's name", ""),
        ("[guest]]\n", "1:8: there is more on this line than one key and its value", ""),
        ("a = [1, 2\n", "1:10: `]` is missing at the end of the list", ""),
        (
            "a = [1 2]\n",
            "1:6: this is not a value",
            "put text in quotes, and a comma between two items of a list",
        ),
        ("a = [,]\n", "1:6: there is one comma too many", ""),
        ("a = [1,,2]\n", "1:8: there is one comma too many", ""),
        ("a = { b = 1\n", "1:12: `}` is missing at the end of the table", ""),
        (
            "a = { b = 1 c = 2 }\n",
            "1:15: this does not belong to the value before it",
            "put a comma between two keys",
        ),
        ("a = { b }\n", "1:9: a value is missing here", ""),
        ("a = { , }\n", "1:7: there is one comma too many", ""),
        ("a = \"\\q\"\n", "1:7: this is not an escape sequence", "write a backslash as `\\\\`, or use '...'"),
        ("a = \"\\u12\"\n", "1:10: this is not an escape sequence", "write `\\u` and four digits"),
        ("a = \"\u{1}\"\n", "1:6: this character cannot stand in text as it is", "write it as \\u0000"),
        ("a = '\u{1}'\n", "1:6: this character cannot stand in text as it is", ""),
        ("a = 01\n", "1:5: a number does not begin with 0", ""),
        ("a = 1__2\n", "1:6: this is not a number", "put text in quotes"),
        ("a = 0X1\n", "1:5: this is not a number", "put text in quotes"),
        ("a = 1.\n", "1:7: this is not a number", "put text in quotes"),
        ("a = 1e\n", "1:7: this is not a number", "put text in quotes"),
        ("a = True\n", "1:5: this is not a value", "write `true` or `false`, or put text in quotes"),
        ("a = tru\n", "1:5: this is not a value", "write `true` or `false`, or put text in quotes"),
        ("a = 2020-13\n", "1:5: this is not a date", "put text in quotes"),
        ("a = 1 b = 2\n", "1:9: there is more on this line than one key and its value", ""),
        ("a b = 1\n", "1:3: this key has no value", "write `key = value`"),
        ("# \u{1}\n", "1:3: this character cannot stand in a comment", ""),
        ("a = 1\r", "1:7: a line ends in half a line break", "save the file with plain line breaks"),
        (
            "ü = 1\n",
            "1:1: a key without quotes has only letters, digits, `-` and `_`",
            "put quotes around it",
        ),
        ("a = +-1\n", "1:6: this is not a number", "put text in quotes"),
        ("a = +0x1\n", "1:5: this is not a number", "put text in quotes"),
        ("[]\n", "1:2: a key is missing here", ""),
        ("[a.]\n", "1:4: a key is missing here", ""),
        ("\"\"\"a\"\"\" = 1\n", "1:1: a key has to be on one line", ""),
        ("a = }\n", "1:5: this bracket closes nothing", ""),
        ("a = ]\n", "1:5: this bracket closes nothing", ""),
        ("a = [b = 1]\n", "1:8: a list holds values, not keys", ""),
        ("]\n", "1:1: this bracket closes nothing", ""),
        ("a = 1 ]\n", "1:7: there is more on this line than one key and its value", ""),
    ]);
}

#[test]
fn brackets_may_not_be_nested_without_end() {
    let (what, _) = said(&format!("a = {}\n", "[".repeat(200)));
    assert_eq!(what, "1:85: there are too many brackets inside each other");
}
