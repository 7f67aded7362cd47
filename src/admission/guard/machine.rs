//! What is known of this machine and whoever works at it: names that are nobody's business as values.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::place::{Place, is_word};
use crate::admission::Rule;
use crate::installation::{Host, node_name};
use crate::limits::{SECRETS_MAX, STRING_BYTES_MAX};
use crate::product::{Declared, Product};

/// A shorter name could be anything.
const NAME_BYTES_MIN: usize = 4;

/// Words of platforms beside this one's.
const PLATFORMS: [&str; 24] = [
    "linux",
    "darwin",
    "windows",
    "macos",
    "freebsd",
    "openbsd",
    "netbsd",
    "solaris",
    "android",
    "alpine",
    "debian",
    "ubuntu",
    "fedora",
    "centos",
    "x86_64",
    "amd64",
    "arm64",
    "aarch64",
    "i686",
    "riscv64",
    "docker",
    "kubernetes",
    "podman",
    "localhost",
];

/// What settings are set to, secret or not.
const ORDINARY: [&str; 14] = [
    "true",
    "false",
    "none",
    "null",
    "auto",
    "always",
    "never",
    "default",
    "enabled",
    "disabled",
    "required",
    "optional",
    "basic",
    "undefined",
];

/// What a region's name is made of beside a direction.
const AREAS: [&str; 30] = [
    "africa",
    "asia",
    "australia",
    "brazil",
    "canada",
    "china",
    "europe",
    "france",
    "germany",
    "india",
    "israel",
    "italy",
    "japan",
    "korea",
    "mexico",
    "newzealand",
    "norway",
    "poland",
    "qatar",
    "southafrica",
    "spain",
    "sweden",
    "switzerland",
    "uae",
    "uk",
    "us",
    "eu",
    "ap",
    "sa",
    "me",
];

const DIRECTIONS: [&str; 5] = ["north", "south", "east", "west", "central"];

/// Words by which a variable's name says that its value is secret.
const SECRET_WORDS: [&str; 24] = [
    "APIKEY",
    "AUTH",
    "AUTHORIZATION",
    "BEARER",
    "COOKIE",
    "CREDENTIAL",
    "DBPASS",
    "DSN",
    "JWT",
    "KEY",
    "KEYPASS",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PAT",
    "PGPASS",
    "PRIVATE",
    "PWD",
    "SAS",
    "SECRET",
    "SSHPASS",
    "TOKEN",
    "USERPASS",
];

/// The names and secrets that no value may give away.
#[derive(Default)]
pub(crate) struct Machine {
    /// Values as a whole.
    names: Vec<(Rule, Box<str>)>,
    /// Values and parts of values.
    secrets: Vec<Box<[u8]>>,
    /// Which lengths any of them has: bit n for n bytes, the highest for all above.
    lengths: u64,
}

/// What the names and secrets are taken from.
#[derive(Default)]
struct Facts {
    host: Option<String>,
    users: Vec<String>,
    home: Option<String>,
    environment: Vec<(String, String)>,
}

impl Machine {
    /// What is known here and now: what the environment says, and the machine's name. No file is read.
    pub(crate) fn this(product: &Product) -> Self {
        let variable = |name| std::env::var(name).ok();
        let home = variable("HOME");
        let name = home.as_deref().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
        let mut users: Vec<_> = name.map(str::to_owned).into_iter().collect();
        users.extend(["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(variable));
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let facts = Facts {
            host: node_name(),
            users,
            home,
            environment: std::env::vars_os().filter_map(text).collect(),
        };
        let host = Host::this();
        Self::knowing(facts, &words(product, [host.platform, host.architecture]))
    }

    fn knowing(facts: Facts, words: &BTreeSet<String>) -> Self {
        let mut machine = Self::default();
        if let Some(host) = &facts.host {
            machine.add_name(Rule::HostName, host, words);
            machine.add_name(Rule::HostName, host.split('.').next().unwrap_or_default(), words);
        }
        facts.users.iter().for_each(|user| machine.add_name(Rule::UserName, user, words));
        if let Some(home) = &facts.home {
            machine.add_name(Rule::HomeDirectory, home, words);
            machine.add_name(Rule::HomeDirectory, &format!("{home}/"), words);
        }
        for (name, value) in &facts.environment {
            let is_number = value.len() < 8 && value.bytes().all(|byte| byte.is_ascii_digit());
            if looks_secret(name) && !is_number && !is_ordinary(value) && is_name(value, words) {
                machine.add_secret(value);
            }
        }
        machine
    }

    fn add_name(&mut self, rule: Rule, name: &str, words: &BTreeSet<String>) {
        if is_name(name, words) && !self.names.iter().any(|(_, known)| **known == *name) {
            self.names.push((rule, name.into()));
            self.lengths |= length_bit(name.len());
        }
    }

    fn add_secret(&mut self, value: &str) {
        if self.secrets.len() < SECRETS_MAX && !self.secrets.iter().any(|known| **known == *value.as_bytes())
        {
            self.secrets.push(value.as_bytes().into());
            self.lengths |= length_bit(value.len());
        }
    }

    /// The bytes that secrets begin with.
    pub(super) fn first_bytes(&self) -> impl Iterator<Item = u8> {
        self.secrets.iter().map(|secret| secret[0])
    }

    /// The rule that a value breaks as a whole.
    #[inline]
    pub(super) fn knows(&self, text: &[u8]) -> Option<Rule> {
        if self.lengths & length_bit(text.len()) == 0 { None } else { self.find(text) }
    }

    #[cold]
    fn find(&self, text: &[u8]) -> Option<Rule> {
        let is_secret = self.secrets.iter().any(|secret| **secret == *text);
        let name = || self.names.iter().find(|(_, name)| name.as_bytes().eq_ignore_ascii_case(text));
        if is_secret { Some(Rule::Environment) } else { name().map(|(rule, _)| *rule) }
    }
}

/// Where a word begins, if the secret begins with a word: the secret and then the word's end.
pub(super) fn secret(place: &Place<'_>) -> bool {
    let rest = place.rest();
    let ends = |secret: &[u8]| {
        !(is_word(secret[secret.len() - 1]) && rest.get(secret.len()).is_some_and(|next| is_word(*next)))
    };
    place.machine.secrets.iter().any(|secret| rest.starts_with(secret) && ends(secret))
}

/// For rules that look at values as a whole alone.
pub(super) fn never(_: &Place<'_>) -> bool {
    false
}

fn length_bit(len: usize) -> u64 {
    1 << len.min(63)
}

/// Everything that a product says of itself, and its platform.
fn words(product: &Product, platform: [String; 2]) -> BTreeSet<String> {
    let mut words = vec![&product.name, &product.version, &product.runtime, &product.runtime_version];
    words.extend(&product.milestones);
    if let Declared::Only { events, integrations } = &product.declared {
        let declared = events.iter().chain(&integrations.keys);
        words.extend(declared.flat_map(|(name, keys)| keys.iter().chain([name])));
    }
    words.into_iter().chain(&platform).map(|word| word.to_ascii_lowercase()).collect()
}

/// Whether a text is long enough to tell something, and no word of a platform, region or product.
fn is_name(text: &str, words: &BTreeSet<String>) -> bool {
    let lower = text.to_ascii_lowercase();
    (NAME_BYTES_MIN..=STRING_BYTES_MAX).contains(&text.len())
        && !PLATFORMS.contains(&lower.as_str())
        && !is_region(&lower)
        && !words.contains(&lower)
}

/// `eu-west-1`, `us-east-1a`, `europe-west4`, `westeurope`, `eastus2`.
fn is_region(text: &str) -> bool {
    let text = text
        .strip_suffix(|last: char| last.is_ascii_lowercase())
        .filter(|text| text.ends_with(|last: char| last.is_ascii_digit()))
        .unwrap_or(text);
    let mut rest = text.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-');
    let mut directed = false;
    loop {
        let shorter = DIRECTIONS
            .iter()
            .find_map(|direction| rest.strip_suffix(direction).or_else(|| rest.strip_prefix(direction)));
        let Some(shorter) = shorter else { break };
        (rest, directed) = (shorter.trim_matches('-'), true);
    }
    directed && AREAS.contains(&rest.strip_suffix("-gov").unwrap_or(rest))
}

fn is_ordinary(value: &str) -> bool {
    ORDINARY.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Whether a variable's name says that its value is secret. The working directory is no password.
fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_secret = |part: &str| {
        let part = part.trim_end_matches(|end: char| end.is_ascii_digit());
        let one = part.strip_suffix('S').filter(|part| !part.ends_with('S')).unwrap_or(part);
        [part, one].iter().any(|part| SECRET_WORDS.contains(part))
            || ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD"].iter().any(|word| one.ends_with(word))
    };
    let joined: String = name.chars().filter(|part| part.is_alphanumeric()).collect();
    !matches!(name.as_str(), "PWD" | "OLDPWD")
        && (name.split(|part: char| !part.is_alphanumeric()).any(is_secret)
            || ["CONNECTIONSTRING", "CONNSTR"].iter().any(|words| joined.contains(words)))
}

/// A machine for tests.
#[cfg(test)]
pub(super) fn sample() -> Machine {
    let product = Product::prefect("3.8.8").event("job_finished", ["region"]);
    let facts = Facts {
        host: Some("build-host-7.corp.example".into()),
        users: ["margaret", "eu-west-1", "prefect", "job_finished", "Linux"].map(String::from).into(),
        home: Some("/people/margaret".into()),
        environment: [
            ("DB_PASSWORD", "hunter2"),
            ("API_TOKEN", "%correct horse"),
            ("AUTH_ENABLED", "true"),
            ("SECRET_PLATFORM", "linux"),
            ("COLOUR", "hunter"),
            ("PWD", "corp"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
    };
    Machine::knowing(facts, &words(&product, ["Linux".into(), "x86_64".into()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_secret_by_its_name() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "PREFECT_API_KEY",
            "GITHUB_TOKEN",
            "PGPASSWORD",
            "githubToken",
            "DB_PASS",
            "SENTRY_DSN",
            "credentials",
            "ACME_API_KEYS",
            "HTTP_COOKIE",
            "npm_config__auth",
            "db.passwd",
            "SSHPASS",
            "API_KEY2",
            "ACME_JWT",
            "CONNECTION_STRING",
            "AZURE_STORAGE_CONNECTION_STRING",
            "ConnectionStrings__Default",
            "CUSTOMCONNSTR_MAIN",
            "ACME_CONN_STR",
            "BLOB_SAS",
            "AZURE_SAS_URL",
            "AZURE_SEARCH_KEY",
            "AZURE_STORAGE_ACCOUNT_KEY1",
            "ACME_DSN",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "OLDPWD",
            "HOME",
            "LANG",
            "KEYBOARD",
            "TERM",
            "PATTERN",
            "COMPASS",
            "SSL_CERT_FILE",
            "EDITOR",
            "CONNECTION_TIMEOUT",
            "SASL_MECHANISM",
            "STRING",
        ] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn a_region_is_nobodys_name() {
        for region in [
            "eu-west-1",
            "us-east-1a",
            "us-gov-west-1",
            "ap-southeast-2",
            "europe-west4",
            "us-central1",
            "westeurope",
            "eastus2",
            "southcentralus",
            "japaneast",
            "southafricanorth",
            "germanywestcentral",
        ] {
            assert!(is_region(region), "{region}");
        }
        for other in ["weston", "north", "europe-1", "eastwood", "centrala", "margaret", "1", "-", "", "us"] {
            assert!(!is_region(other), "{other}");
        }
    }
}
