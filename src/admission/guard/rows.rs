//! The table of what must never leave.

use super::place::{Place, is_word};
use super::{machine, network, paths, tokens, trace};
use crate::admission::Rule;

/// A rule of the guard: what it keeps in, where it looks, and what it is tried with.
pub(crate) struct Row {
    pub(crate) rule: Rule,
    /// What it keeps in, for people.
    pub(crate) guards: &'static str,
    /// The bytes at which it looks, wherever they stand.
    pub(super) anywhere: &'static str,
    /// Those at which it looks where a word begins.
    pub(super) at_word: &'static str,
    pub(super) finds: fn(&Place<'_>) -> bool,
    /// Values that it stops, all of them with what [`machine::sample`] knows.
    #[cfg(test)]
    pub(super) stops: &'static [&'static str],
    /// Values that look like it and pass, whatever rule is asked.
    #[cfg(test)]
    pub(super) passes: &'static [&'static str],
}

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The rules, in the order of [`Rule::ALL`]. Where two of them find something at one byte, the upper one counts.
/// Whoever adds one adds what it stops and what it lets pass.
pub(crate) const ROWS: [Row; 12] = [
    Row {
        rule: Rule::PrivateKey,
        guards: "private keys",
        anywhere: "-",
        at_word: "P",
        finds: tokens::private_key,
        #[cfg(test)]
        stops: &[
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow",
            "key: -----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "PuTTY-User-Key-File-3: ssh-ed25519",
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----",
        ],
        #[cfg(test)]
        passes: &[
            "-----BEGIN CERTIFICATE-----",
            "---- BEGIN SSH2 PUBLIC KEY ----",
            "-----",
            "private key",
            "a--b",
            "----------- BEGIN",
        ],
    },
    Row {
        rule: Rule::Jwt,
        guards: "JSON web tokens",
        anywhere: "",
        at_word: "e",
        finds: tokens::jwt,
        #[cfg(test)]
        stops: &[
            concat!("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"),
            concat!("token=eyJ", "0eXAiOiJKV1QifQ.eyJpc3MiOiJqb2UifQ"),
            concat!(
                "eyJ",
                "hbGciOiJkaXIifQ..48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji"
            ),
        ],
        #[cfg(test)]
        passes: &["eyJ", "eyJhbGci", "eye.java.lang", "heyJude.example.com", "eyJhbGciOiJIUzI1NiJ9"],
    },
    Row {
        rule: Rule::Token,
        guards: "tokens and keys of the common services, in the shapes that they document",
        anywhere: "~:",
        at_word: LETTERS,
        finds: tokens::token,
        // Those with a prefix are tried by a test of their own.
        #[cfg(test)]
        stops: &[
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "secret=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY;",
            concat!("123456789:", "AAbcdefghijklmnopqrstuvwxyz0123456789"),
            concat!("abc8", "Q~abcdefghijklmnopqrstuvwxyz0123456789"),
            concat!("Authorization: Bearer ", "mF_9.B5f-4.1JqMabcd"),
            concat!("Basic ", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            concat!("authorization: basic ", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            concat!("bearer ", "mF_9.B5f-4.1JqMabcd"),
            concat!("https://hooks.slack", ".com/services/T00000000/B00000000/XXXX"),
            concat!("x-", "sk-", "proj-abcdefghijklmnopqrstuvwxyz0123"),
            concat!("sk-", "ant-api03-Zx8Kq2LmN4pQ7rS-t9UvW1xYz"),
            concat!("xox", "p-123456789012-123456789012-123456789012-0123456789abcdef0123456789abcdef"),
        ],
        #[cfg(test)]
        passes: &[
            "sk-learn",
            "sk-a-name-of-some-length-without-any-number",
            "sk-test-run-for-the-nightly-build-42",
            "sk-3rdparty-model-v2-of-2026-for-tests",
            "secret_santa_2026_of_the_whole_research_department",
            "ghp_short",
            "AKIA",
            "ACCOUNT",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "01a207a2-32fb-7012-8d15-9e26aeffffff",
            "01A207A232FB70128D159E26AEFFFFFF",
            "Basic understanding of things",
            "key-value-store-with-a-long-name",
            "ThisIsAnOrdinaryNameOfFortyCharactersYes",
            "bearer of good news and of some bad ones",
            "npm_config_registry",
            "12:34:56",
        ],
    },
    Row {
        rule: Rule::Environment,
        guards: "values of environment variables whose names look secret",
        anywhere: "",
        at_word: "",
        finds: machine::secret,
        #[cfg(test)]
        stops: &["hunter2", "pw=hunter2;", "(%correct horse)", "use %correct horse"],
        #[cfg(test)]
        passes: &["hunter", "hunter22", "xhunter2", "correct horse", "true", "linux"],
    },
    Row {
        rule: Rule::StackTrace,
        guards: "stack traces",
        anywhere: "#:",
        at_word: "CEFSTagps",
        finds: trace::stack_trace,
        #[cfg(test)]
        stops: &[
            "Traceback (most recent call last):\n  File",
            "  File \"flow.py\", line 3, in run",
            "Exception in thread \"main\" java.lang.NullPointerException",
            "Error: x\n    at Object.run (job.js:4:2)",
            "\tat com.acme.Job.run(Job.java:42)",
            "Caused by: java.io.IOException",
            "thread 'main' panicked at job.rs:4:5",
            "goroutine 1 [running]:",
            "stack backtrace:",
            "#0  0x00007ffff7e4a in main ()",
            "#11 0x00007ffff7e4a in run ()",
            "#1  main () at job.c:3",
            "#2 {main}",
            "\tat java.lang.Object.wait(Native Method)",
            "at Job.run(Unknown Source)",
            "at java.base/java.lang.Thread.run(Thread.java:829)",
            "   at Acme.Job.Run() in C:\\job.cs:line 3",
            "   at Acme.Job.Run(String name)",
            "job.rb:12:in 'run'",
            "job.rb:12:in `block in run'",
            "\n  12: core::panicking::panic\n",
            "Stack trace:\n",
        ],
        #[cfg(test)]
        passes: &[
            "File a bug",
            "at noon (UTC)",
            "at 10:30",
            "goroutine",
            "panicked",
            "#0",
            "Traceback",
            "stack",
            "arrived at home(s)",
            "Stack traces are off",
            "Stack trace",
            "stack backtrace off",
            "#1 priority (high) at 10:30",
            "#12 in the list",
            "at v1.2.3 (stable)",
            "12: std::fmt is a module",
            "at 12:in the morning",
        ],
    },
    Row {
        rule: Rule::Url,
        guards: "URLs with a user or a password",
        anywhere: ":",
        at_word: "",
        finds: network::url_with_user,
        #[cfg(test)]
        stops: &[
            "https://me:pw@example.com/x",
            "postgres://worker@db/flows",
            "at git+ssh://git@host:22/x now",
            "redis://:pw@cache:6379",
            "https://me%40corp:pw@host",
        ],
        #[cfg(test)]
        passes: &[
            "https://example.com/docs",
            "https://example.com/@scope/package",
            "https://example.com:8443?q=@x",
            "s3://bucket",
            "://@x",
            "std::fmt",
        ],
    },
    Row {
        rule: Rule::Email,
        guards: "e-mail addresses",
        anywhere: "@%",
        at_word: "",
        finds: network::email,
        #[cfg(test)]
        stops: &[
            "me@example.com",
            "Me <first.last+tag@mail.example.co.uk>.",
            "user=me%40example.com",
            "jürgen@bücher.example",
            "o'hara@example.org",
            "me@xn--bcher-kva.xn--p1ai",
            "me@例え.テスト",
            "me@例え。テスト",
            "bob@localhost",
            "root@BUILD-HOST-7",
        ],
        #[cfg(test)]
        passes: &[
            "package@1.2.3",
            "@scope/package",
            "actions/checkout@v4",
            "me @ home",
            "@",
            "a@",
            "@example.com",
            "numpy@latest",
            "50%",
            "x@.com",
            "numpy@最新。",
            "a@localhosts",
        ],
    },
    Row {
        rule: Rule::Ip,
        guards: "IP addresses, and those of network cards",
        anywhere: ":-.",
        at_word: "0123456789",
        finds: network::address,
        #[cfg(test)]
        stops: &[
            "10.0.0.1",
            "http://192.168.1.20:4200/api",
            "from 172.16.0.9, port 22.",
            "10.0.0.0/8 and 10.1.2.3/24",
            "1.2.3.4-1.2.3.9",
            "::1",
            "fe80::1%eth0",
            "[2001:db8::8a2e:370:7334]:443",
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
            "::ffff:10.0.0.1",
            "00:1a:2b:3c:4d:5e",
            "00-1A-2b-3c-4d-5e",
            "eth0-00:1a:2b:3c:4d:5e",
            "mac_00-1a-2b-3c-4d-5e",
            "001a.2b3c.4d5e",
            "addr-10.0.0.1",
            "addr-fe80::1",
            "10.0.0.1_eth0",
            "10.0.0.1-eth0",
            "10.0.0.1.example.com",
            "ip.10.0.0.1",
            "<10.0.0.1>",
            "<b>10.0.0.1</b>",
            "lib-1.2.3.4",
        ],
        #[cfg(test)]
        passes: &[
            "3.8.8",
            "3.11.7",
            "v1.2.3.4",
            "requests==1.2.3.4",
            "requests>1.2.3.4",
            "requests<=1.2.3.4, ~1.2.3.4",
            "1.2.3.4-rc1",
            "1.2.3.4.Final",
            "1.2.3.4b2",
            "1.2.3.4_build7",
            "Version: 1.2.3.4",
            "runtime version 4.8.1.2",
            "1.2.3.4.5",
            "4.0.0.0",
            "Chrome/120.0.0.0",
            "10.0.19045.3803",
            "256.1.1.1",
            "1.5e3",
            "12:34:56",
            "2026-11-24T09:00:00.123Z",
            "2026-11-24 09:00:00+01:00",
            "std::fmt::Debug",
            "a::b",
            "abc::def",
            "::",
            "16:9",
            "1:2:3:4:5:6",
            "2026-11-24-09-30",
            "2026.1124.0900",
            "a.b.c.d",
            "1-2-3-4-5-6",
        ],
    },
    Row {
        rule: Rule::Path,
        guards: "paths of files and directories",
        anywhere: "/\\~$%",
        at_word: "",
        finds: paths::path,
        #[cfg(test)]
        stops: &[
            "/etc/passwd",
            "/tmp",
            "cannot open '/home/me/flow.py'",
            "PATH=/usr/bin:/bin",
            "~/.prefect/profiles.toml",
            "~me/x",
            "./flow.py",
            "../x",
            "src/main.rs",
            "flows/etl/daily.py:12",
            "**/*.yaml",
            "C:\\Users\\me",
            "c:/temp/x",
            "\\\\server\\share",
            "//server/share",
            "CORP\\me",
            "flows\\daily.py",
            "%TEMP%\\x",
            "$HOME/x",
            "${HOME}/x",
            "file:///srv/data",
            "FILE://srv",
        ],
        #[cfg(test)]
        passes: &[
            "a/b",
            "n/a",
            "and/or",
            "linux/amd64",
            "application/json",
            "application/vnd.api+json",
            "America/Argentina/Buenos_Aires",
            "24/7",
            "11/24/2026",
            "3 / 4",
            "6 /7",
            "</b>",
            "https://example.com/docs/intro",
            "owner/repository",
            "prefecthq/prefect:3-python3.12",
            "~5",
            "~> 1.2",
            "$5",
            "50% / 50%",
            "100%",
            "\\",
            "?q=1&r=2",
            "TCP/IP",
        ],
    },
    Row {
        rule: Rule::HostName,
        guards: "this machine's name, as a whole value",
        anywhere: "",
        at_word: "",
        finds: machine::never,
        #[cfg(test)]
        stops: &["build-host-7.corp.example", "build-host-7", "BUILD-HOST-7"],
        #[cfg(test)]
        passes: &["build", "build-host-77", "corp.example", "on build-host-7"],
    },
    Row {
        rule: Rule::UserName,
        guards: "the user's name, as a whole value",
        anywhere: "",
        at_word: "",
        finds: machine::never,
        #[cfg(test)]
        stops: &["margaret", "Margaret"],
        #[cfg(test)]
        passes: &["margarete", "marg", "eu-west-1", "prefect", "job_finished", "Linux"],
    },
    Row {
        rule: Rule::HomeDirectory,
        guards: "the home directory, as a whole value",
        anywhere: "",
        at_word: "",
        finds: machine::never,
        #[cfg(test)]
        stops: &["/people/margaret", "/people/margaret/"],
        #[cfg(test)]
        passes: &["people"],
    },
];

/// What looks at each byte. Bit n, below [`AT_WORD_SHIFT`]: row n, wherever the byte stands. The same above: row n,
/// where a word begins. The highest: the byte belongs to a word.
pub(super) const BY_BYTE: [u32; 256] = {
    let (mut by_byte, mut row) = ([0; 256], 0);
    while row < ROWS.len() {
        let (anywhere, at_word) = (ROWS[row].anywhere.as_bytes(), ROWS[row].at_word.as_bytes());
        let mut at = 0;
        while at < anywhere.len() {
            by_byte[anywhere[at] as usize] |= 1 << row;
            at += 1;
        }
        at = 0;
        while at < at_word.len() {
            by_byte[at_word[at] as usize] |= 1 << (row as u32 + AT_WORD_SHIFT);
            at += 1;
        }
        row += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        by_byte[byte] |= if is_word(byte as u8) { IS_WORD } else { 0 };
        byte += 1;
    }
    by_byte
};

pub(super) const AT_WORD_SHIFT: u32 = 16;

pub(super) const IS_WORD: u32 = 1 << 31;

pub(super) const ROWS_MASK: u32 = (1 << ROWS.len()) - 1;

/// The row about the environment: where it looks is known only there.
pub(super) const ENVIRONMENT: u32 = bit(Rule::Environment);

/// The row about tokens, which need not look where less is left than the shortest has.
pub(super) const TOKEN: u32 = bit(Rule::Token);

const fn bit(rule: Rule) -> u32 {
    let mut row = 0;
    while ROWS[row].rule as u8 != rule as u8 {
        row += 1;
    }
    1 << row
}
