//! Consent: whether anything is collected, and by whose word.
//!
//! Facts are read once, the decision is a pure function of them. Nothing is written here, and no directory
//! is made before the answer is known.

use crate::product::{Mode, Product};

/// Variables that a continuous-integration host sets: Prefect's page lists the first ten, its source has the
/// other six. Any of them that is not empty counts, `CI=false` too.
const CI: [&str; 16] = [
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "TRAVIS",
    "CIRCLECI",
    "BUILDKITE",
    "TF_BUILD",
    "CODEBUILD_BUILD_ID",
    "BITBUCKET_COMMIT",
    "TEAMCITY_VERSION",
    "DRONE",
    "SEMAPHORE",
    "APPVEYOR",
    "BUDDY",
    "CI_NAME",
];

/// The answer, with the reason that `status` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consent {
    Yes { reason: String },
    No { reason: String },
}

impl Consent {
    pub(crate) fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Yes { reason } | Self::No { reason } => reason,
        }
    }

    /// Says no where nobody else did.
    pub(crate) fn object(&mut self, reason: String) {
        if self.is_yes() {
            *self = Self::No { reason };
        }
    }
}

/// Whether this is a continuous-integration host.
pub(crate) fn is_ci() -> bool {
    CI.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Decides for this process, from its environment.
pub(crate) fn of_this_process(product: &Product, mode: Mode) -> Consent {
    decide(product.opt_out_env.as_deref(), mode, |name| {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    })
}

/// The decision: the first word that refuses stands.
fn decide(opt_out: Option<&str>, mode: Mode, variable: impl Fn(&str) -> Option<String>) -> Consent {
    let said = |name: &str| variable(name).filter(|value| !value.is_empty());
    let no = |reason: String| Consent::No { reason };
    if cfg!(not(unix)) {
        return no("this platform is unsupported: file locks are relied on as Unix has them".into());
    }
    if mode == Mode::Off {
        return no("the mode is off".into());
    }
    let is_false =
        |value: &String| matches!(value.trim().to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off");
    if let Some(value) = said("DO_NOT_TRACK").filter(|value| !is_false(value)) {
        return no(format!("DO_NOT_TRACK={value} in the environment"));
    }
    if let Some((name, value)) = CI.iter().find_map(|name| said(name).map(|value| (name, value))) {
        return no(format!("{name}={value} in the environment: a CI host"));
    }
    if let Some((name, value)) = opt_out.and_then(|name| variable(name).map(|value| (name, value))) {
        match value.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => {
                return Consent::Yes { reason: format!("{name}={value} in the environment") };
            }
            "0" | "false" | "f" | "no" | "n" | "off" => {
                return no(format!("{name}={value} in the environment"));
            }
            _ => {
                log::warn!("{name}={value:?} is neither yes nor no; nothing is collected");
                return no(format!("{name}={value} in the environment is neither yes nor no"));
            }
        }
    }
    Consent::Yes { reason: "nobody refused".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide_with(variables: &[(&str, &str)]) -> Consent {
        decide(Some("ACME_TELEMETRY"), Mode::On, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn each_spelling_of_each_variable_means_what_its_table_says() {
        let yes = ["1", "true", "TRUE", "t", "yes", "Y", "on"];
        let no = ["0", "false", "False", "f", "no", "N", "off", "", "maybe", "2"];
        for word in yes {
            assert!(decide_with(&[("ACME_TELEMETRY", word)]).is_yes(), "{word}");
        }
        for word in no {
            assert!(!decide_with(&[("ACME_TELEMETRY", word)]).is_yes(), "{word}");
        }
        for word in ["", "0", "false", "No", "OFF"] {
            assert!(decide_with(&[("DO_NOT_TRACK", word)]).is_yes(), "{word}");
        }
        for word in ["1", "true", "yes", "y", "please"] {
            assert!(!decide_with(&[("DO_NOT_TRACK", word)]).is_yes(), "{word}");
        }
        for name in CI {
            assert!(!decide_with(&[(name, "false")]).is_yes(), "{name}");
            assert!(decide_with(&[(name, "")]).is_yes(), "{name}");
        }
    }

    #[test]
    fn no_yes_outweighs_a_no() {
        assert!(!decide_with(&[("DO_NOT_TRACK", "1"), ("ACME_TELEMETRY", "true")]).is_yes());
        assert!(!decide_with(&[("CI", "1"), ("ACME_TELEMETRY", "true")]).is_yes());
        assert!(!decide(None, Mode::Off, |_| None).is_yes());
    }

    #[test]
    fn the_reason_names_the_source() {
        let no = decide_with(&[("DO_NOT_TRACK", "1")]);
        assert_eq!(no.reason(), "DO_NOT_TRACK=1 in the environment");
    }
}
