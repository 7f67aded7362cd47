//! The sources of a product's consent, and what they say. The environment is read once; files whenever they change.

use std::path::{Path, PathBuf};

use super::decision::Facts;
use super::file::{self, Stamp};
use super::words::{
    Names, Settings, Word, in_dotenv, in_local_file, in_profiles, in_settings, profile_entry,
};
use crate::product::{Mode, Product, Profiles};

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

/// Whether this is a continuous-integration host.
pub(crate) fn is_ci() -> bool {
    CI.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// What a process is told by its environment.
pub(crate) struct Environment<'a> {
    /// Looks a variable up.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The working directory, if there is one.
    pub(crate) working_directory: Option<PathBuf>,
}

/// Where a product's consent is found.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// What was said without a file.
    said: Facts,
    variable: Option<String>,
    setting: Option<String>,
    dotenv: Option<PathBuf>,
    local_file: Option<PathBuf>,
    project_file: Option<PathBuf>,
    /// What the opt-out is called there.
    project_setting: Option<String>,
    /// The installation's own profiles.
    profiles: Option<PathBuf>,
    /// Where this process was told to look for its profile: a file, a name.
    own_profiles: Option<PathBuf>,
    own_profile: Option<String>,
    /// The profile that counts where nobody named one.
    default_profile: String,
    settings: Option<PathBuf>,
    /// The server to ask.
    server: Option<String>,
}

impl Environment<'_> {
    /// Calls `with` with this process's.
    pub(crate) fn of_this_process<T>(with: impl FnOnce(&Environment<'_>) -> T) -> T {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        with(&Environment { variable: &variable, working_directory: None })
    }

    fn said(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

/// `settings.toml` in a telemetry directory.
pub(crate) fn settings_in(directory: &Path) -> PathBuf {
    directory.join("settings.toml")
}

impl Sources {
    /// `home` and `directory` are where the installation is, if it has a place at all; `mode` is the most
    /// restrictive that was named outside of files, and by whom.
    pub(crate) fn of(
        product: &Product,
        environment: &Environment<'_>,
        (home, directory): (Option<&Path>, Option<&Path>),
        mode: (Mode, String),
    ) -> Self {
        let of_variable = |name: &Option<String>| name.as_ref().and_then(|name| environment.said(name));
        let profiles = product.files.profiles.as_ref();
        let variable_of = |name: fn(&Profiles) -> &Option<String>| {
            profiles.and_then(|profiles| of_variable(name(profiles)))
        };
        let files = &product.files;
        let here = environment.working_directory.clone().or_else(|| std::env::current_dir().ok());
        let local = |name: Option<&String>| Some(here.as_ref()?.join(name?));
        let project_setting = files
            .project_file
            .as_ref()
            .zip(files.setting.as_ref())
            .map(|(project, setting)| format!("{}.{setting}", project.table));
        let opt_out = product.opt_out_env.as_ref();
        let mut sources = Self {
            said: Facts {
                unsupported: cfg!(not(unix)),
                mode,
                do_not_track: environment.said("DO_NOT_TRACK"),
                ci: CI.iter().find_map(|name| Some((*name, environment.said(name)?))),
                opt_out: opt_out.and_then(|name| Some((name.clone(), (environment.variable)(name)?))),
                ..Facts::default()
            },
            variable: product.opt_out_env.clone(),
            setting: product.files.setting.clone(),
            dotenv: local(files.dotenv.as_ref()),
            local_file: local(files.local_file.as_ref()),
            project_file: local(files.project_file.as_ref().map(|project| &project.file)),
            project_setting,
            profiles: home.zip(profiles).map(|(home, profiles)| home.join(&profiles.file)),
            own_profiles: variable_of(|profiles| &profiles.path_env).map(expand),
            own_profile: variable_of(|profiles| &profiles.name_env),
            default_profile: profiles.map(|profiles| profiles.default.clone()).unwrap_or_default(),
            settings: directory.map(settings_in),
            server: None,
        };
        if let Some(server) = &product.files.server {
            let url = environment.said(&server.url_env).or_else(|| sources.entry(&server.url_env));
            let url = url.filter(|url| !url.is_empty());
            sources.server = url.map(|url| {
                let (url, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
                format!("{}/{}{query}", url.trim_end_matches('/'), server.path.trim_start_matches('/'))
            });
        }
        sources
    }

    /// The settings of the server that this process talks to, as a URL.
    pub(crate) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The name of the variable, under which profiles have the opt-out.
    pub(crate) fn variable(&self) -> &str {
        self.variable.as_deref().unwrap_or_default()
    }

    /// What the opt-out is called in files, in parts.
    pub(crate) fn setting(&self) -> &str {
        self.setting.as_deref().unwrap_or_default()
    }

    /// The file of profiles that the product's own command would write, and which profile: that of the process
    /// where it was told one.
    pub(crate) fn profile_of_process(&self) -> Option<(&Path, Option<&str>)> {
        let path = self.own_profiles.as_ref().or(self.profiles.as_ref())?;
        Some((path, self.own_profile.as_deref()))
    }

    /// The installation's own file of profiles.
    pub(crate) fn profiles(&self) -> Option<&Path> {
        self.profiles.as_deref()
    }

    /// The profile that counts where nobody named one.
    pub(crate) fn default_profile(&self) -> &str {
        &self.default_profile
    }

    /// `settings.toml`.
    pub(crate) fn settings(&self) -> Option<&Path> {
        self.settings.as_deref()
    }

    /// What `settings.toml` says of other things than consent. One that makes no sense says nothing; consent is
    /// then unknown.
    pub(crate) fn other_settings(&self) -> Result<Settings, String> {
        self.settings.as_deref().map_or_else(|| Ok(Settings::default()), read_settings)
    }

    /// The files that are looked after.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let here = [&self.dotenv, &self.local_file, &self.project_file];
        let others = [&self.own_profiles, &self.profiles, &self.settings];
        here.into_iter().chain(others).filter_map(|file| file.as_deref())
    }

    /// Their stamps, in this order.
    pub(super) fn stamps(&self) -> Vec<Stamp> {
        self.files().map(Stamp::of).collect()
    }

    /// Reads what everybody says. Of a file that `is_fresh` nobody knows what it will say.
    pub(super) fn read(&self, is_fresh: impl Fn(&Path) -> bool) -> Facts {
        let names = Names { variable: self.variable.as_deref(), setting: self.setting.as_deref() };
        let read = |path: &Option<PathBuf>, word: &dyn Fn(&str, &Path) -> Word| {
            let Some(path) = path else { return Word::Silent };
            if is_fresh(path) {
                return Word::Unclear(changing(path));
            }
            match file::read(path) {
                Ok(Some(text)) => word(&text, path),
                Ok(None) => Word::Silent,
                Err(why) => Word::Unclear(why),
            }
        };
        let own = self.own_profile.as_deref();
        let profile = match (&self.own_profiles, own) {
            (None, None) => Word::Silent,
            (path, _) => {
                let path = path.clone().or_else(|| self.profiles.clone());
                read(&path, &|text, path| in_profiles(text, own, names, path))
            }
        };
        let settings = match self.settings.as_deref() {
            Some(path) if is_fresh(path) => Err(changing(path)),
            Some(path) => read_settings(path),
            None => Ok(Settings::default()),
        };
        let in_project = Names { setting: self.project_setting.as_deref(), ..names };
        // A directory of this name is a virtual environment, say, a pipe some keeper of secrets: the product itself
        // passes over them.
        let regular = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_file());
        Facts {
            dotenv: read(&regular(&self.dotenv), &|text, path| in_dotenv(text, names, path)),
            local_file: read(&self.local_file, &|text, path| in_local_file(text, names, path)),
            project_file: read(&regular(&self.project_file), &|text, path| {
                in_local_file(text, in_project, path)
            }),
            profile,
            installation: read(&self.profiles, &|text, path| in_profiles(text, None, names, path)),
            settings,
            ..self.said.clone()
        }
    }

    /// What the profile of this process has under `key`.
    fn entry(&self, key: &str) -> Option<String> {
        let (path, chosen) = self.profile_of_process()?;
        profile_entry(&file::read(path).ok()??, chosen, key)
    }
}

fn changing(path: &Path) -> String {
    format!("{} was changed a moment ago", path.display())
}

fn read_settings(path: &Path) -> Result<Settings, String> {
    // As all that is in the telemetry directory: no link is followed.
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{} cannot be read: it is no regular file", path.display()));
    }
    file::read(path)?.map_or(Ok(Settings::default()), |text| in_settings(&text, path))
}

fn expand(path: String) -> PathBuf {
    let path = PathBuf::from(path);
    match (path.strip_prefix("~"), dirs::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::Answer;

    /// Prefect in a home and a working directory of its own.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            for name in ["home/.sdk_telemetry", "here"] {
                std::fs::create_dir_all(place.0.path().join(name)).unwrap();
            }
            place
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn sources(&self, variables: &[(&str, &str)]) -> Sources {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let working_directory = Some(self.0.path().join("here"));
            let (home, directory) = (self.0.path().join("home"), self.0.path().join("home/.sdk_telemetry"));
            Sources::of(
                &Product::prefect("3.8.8"),
                &Environment { variable: &variable, working_directory },
                (Some(&home), Some(&directory)),
                (Mode::On, String::new()),
            )
        }

        fn decide(&self, variables: &[(&str, &str)]) -> crate::consent::Consent {
            self.sources(variables).read(|_| false).decide()
        }
    }

    const REFUSING: &str = "active = \"a\"\n[profiles.a]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n\
                            PREFECT_API_URL = \"http://127.0.0.1:4200/api/\"\n\
                            [profiles.b]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"true\"\n";

    #[test]
    fn each_variable_of_a_ci_host_refuses_whatever_it_says_and_empty_says_nothing() {
        let place = Place::new();
        for name in CI {
            for value in ["1", "true", "false", "0"] {
                let consent = place.decide(&[(name, value)]);
                assert_eq!(consent.answer, Answer::No, "{name}={value}");
                assert_eq!(consent.reason, format!("{name}={value} in the environment: a CI host"));
            }
            assert_eq!(place.decide(&[(name, "")]).answer, Answer::Yes, "{name}");
        }
    }

    #[test]
    fn the_active_profile_speaks_for_the_installation_and_no_variable_lifts_it() {
        let place = Place::new();
        let path = place.write("home/profiles.toml", REFUSING);
        let consent = place.decide(&[]);
        assert_eq!((consent.answer, consent.installation), (Answer::No, Answer::No));
        let reason =
            format!("PREFECT_SERVER_ANALYTICS_ENABLED = \"false\" in the profile a of {}", path.display());
        assert_eq!(consent.reason, reason);
        let elsewhere = place.write("here/profiles.toml", &REFUSING.replace("\"a\"", "\"b\""));
        for variables in [
            ("PREFECT_SERVER_ANALYTICS_ENABLED", "true"),
            ("PREFECT_PROFILE", "b"),
            ("PREFECT_PROFILES_PATH", elsewhere.to_str().unwrap()),
        ] {
            assert_eq!(place.decide(&[variables]).answer, Answer::No, "{variables:?}");
        }
    }

    #[test]
    fn another_profile_another_file_and_a_working_directory_silence_the_process_alone() {
        let place = Place::new();
        place.write("home/profiles.toml", &REFUSING.replace("\"a\"", "\"b\""));
        assert_eq!(place.decide(&[]).answer, Answer::Yes);
        let elsewhere = place.write("here/profiles.toml", REFUSING);
        for variables in [("PREFECT_PROFILE", "a"), ("PREFECT_PROFILES_PATH", elsewhere.to_str().unwrap())] {
            let consent = place.decide(&[variables]);
            assert_eq!((consent.answer, consent.installation), (Answer::No, Answer::Yes), "{variables:?}");
        }
        // It ranks above the profile of the process, and under the variable.
        place.write("here/prefect.toml", "[server]\nanalytics_enabled = true\n");
        assert_eq!(place.decide(&[("PREFECT_PROFILE", "a")]).answer, Answer::Yes);
        place.write("here/prefect.toml", "[server]\nanalytics_enabled = false\n");
        let consent = place.decide(&[("PREFECT_PROFILE", "b")]);
        assert_eq!((consent.answer, consent.installation), (Answer::No, Answer::Yes));
        let variables = [("PREFECT_SERVER_ANALYTICS_ENABLED", "true"), ("PREFECT_PROFILE", "a")];
        assert_eq!(place.decide(&variables).answer, Answer::Yes);
    }

    /// As Prefect reads them: `.env`, then `prefect.toml`, then `pyproject.toml`, and the variable before all of them.
    #[test]
    fn of_the_files_of_a_working_directory_the_first_that_says_something_counts() {
        let name = "PREFECT_SERVER_ANALYTICS_ENABLED";
        let files = [
            ("here/.env", "PREFECT_SERVER_ANALYTICS_ENABLED="),
            ("here/prefect.toml", "[server]\nanalytics_enabled = "),
            ("here/pyproject.toml", "[tool.prefect.server]\nanalytics_enabled = "),
        ];
        for (at, (file, text)) in files.iter().enumerate() {
            let place = Place::new();
            let path = place.write(file, &format!("{text}false\n"));
            let consent = place.decide(&[]);
            assert_eq!((consent.answer, consent.installation), (Answer::No, Answer::Yes), "{file}");
            assert!(consent.reason.ends_with(&format!("in {}", path.display())), "{}", consent.reason);
            assert_eq!(place.decide(&[(name, "true")]).answer, Answer::Yes, "{file}");
            for (lower, text_of_lower) in &files[at + 1..] {
                place.write(lower, &format!("{text_of_lower}true\n"));
                assert_eq!(place.decide(&[]).answer, Answer::No, "{file} before {lower}");
            }
            for (higher, text_of_higher) in &files[..at] {
                let path = place.write(higher, &format!("{text_of_higher}true\n"));
                assert_eq!(place.decide(&[]).answer, Answer::Yes, "{higher} before {file}");
                std::fs::remove_file(path).unwrap();
            }
            place.write(file, "= ?\n[");
            let expected = if at == 0 { Answer::Yes } else { Answer::Unknown };
            assert_eq!(place.decide(&[]).answer, expected, "{file}");
        }
        let place = Place::new();
        std::fs::create_dir(place.0.path().join("here/.env")).unwrap();
        place.write("here/pyproject.toml", "[tool.other]\nserver.analytics_enabled = false\n");
        assert_eq!(place.decide(&[]).answer, Answer::Yes);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let place = Place::new();
        std::fs::create_dir(place.0.path().join("home/profiles.toml")).unwrap();
        let consent = place.decide(&[]);
        assert_eq!((consent.answer, consent.installation), (Answer::Unknown, Answer::Unknown));
        std::fs::remove_dir(place.0.path().join("home/profiles.toml")).unwrap();
        std::fs::write(place.0.path().join("home/profiles.toml"), [0xff, 0xfe]).unwrap();
        assert_eq!(place.decide(&[]).answer, Answer::Unknown);
        std::fs::remove_file(place.0.path().join("home/profiles.toml")).unwrap();
        place.write("here/real.toml", "collecting = true");
        let link = place.0.path().join("home/.sdk_telemetry/settings.toml");
        std::os::unix::fs::symlink(place.0.path().join("here/real.toml"), link).unwrap();
        assert_eq!(place.decide(&[]).answer, Answer::Unknown);
    }

    /// What a cut file says may be less than the whole one, and never the opposite.
    #[test]
    fn a_file_that_is_cut_at_any_byte_says_no_nothing_or_that_it_makes_no_sense() {
        let place = Place::new();
        for length in 0..=REFUSING.len() {
            place.write("home/profiles.toml", &REFUSING[..length]);
            let facts = place.sources(&[]).read(|_| false);
            assert!(!matches!(facts.installation, Word::Yes(_)), "cut at {length}");
            let fresh = place.sources(&[]).read(|_| true).decide();
            assert_eq!((fresh.answer, fresh.installation), (Answer::Unknown, Answer::Unknown));
        }
        let agreeing = REFUSING.replace("\"a\"", "\"b\"");
        for length in 0..=agreeing.len() {
            place.write("home/profiles.toml", &agreeing[..length]);
            let facts = place.sources(&[]).read(|_| false);
            assert!(!matches!(facts.installation, Word::No(_)), "cut at {length}");
        }
    }

    #[test]
    fn the_server_is_the_variables_or_the_profiles() {
        let place = Place::new();
        let server = |variables: &[(&str, &str)]| place.sources(variables).server().map(str::to_owned);
        assert_eq!(server(&[]), None);
        let expected = Some("http://10.0.0.1/api/admin/settings".to_owned());
        assert_eq!(server(&[("PREFECT_API_URL", "http://10.0.0.1/api")]), expected);
        place.write("home/profiles.toml", REFUSING);
        assert_eq!(server(&[]).as_deref(), Some("http://127.0.0.1:4200/api/admin/settings"));
        assert_eq!(server(&[("PREFECT_PROFILE", "b")]), None);
    }
}
