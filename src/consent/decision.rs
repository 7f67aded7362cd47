//! The decision: a pure function of who said what.

use super::words::{Settings, Word, truth};
use super::{Answer, Consent};
use crate::product::Mode;

/// Who said what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether this platform has what the rest relies on.
    pub(crate) unsupported: bool,
    /// How far events go, of all that were named the most restrictive, and who named it.
    pub(crate) mode: (Mode, String),
    pub(crate) do_not_track: Option<String>,
    /// The first variable that says that this is a CI host.
    pub(crate) ci: Option<(&'static str, String)>,
    /// The product's variable.
    pub(crate) opt_out: Option<(String, String)>,
    /// The files of the working directory.
    pub(crate) dotenv: Word,
    pub(crate) local_file: Word,
    pub(crate) project_file: Word,
    /// The profile that this process was told to take, where that is not the installation's.
    pub(crate) profile: Word,
    /// The installation's active profile.
    pub(crate) installation: Word,
    /// The installation's `settings.toml`, or why it cannot be read.
    pub(crate) settings: Result<Settings, String>,
}

/// Nobody said anything.
impl Default for Facts {
    fn default() -> Self {
        Self {
            unsupported: false,
            mode: (Mode::On, String::new()),
            do_not_track: None,
            ci: None,
            opt_out: None,
            dotenv: Word::Silent,
            local_file: Word::Silent,
            project_file: Word::Silent,
            profile: Word::Silent,
            installation: Word::Silent,
            settings: Ok(Settings::default()),
        }
    }
}

impl Facts {
    /// Decides. The first word that refuses stands; where none does, one that nobody understands; and a yes is
    /// worth nothing but that the words of lower rank that speak for this process alone are not asked.
    pub(crate) fn decide(&self) -> Consent {
        let settings = match &self.settings {
            Ok(settings) => settings.collecting.clone(),
            Err(why) => Word::Unclear(why.clone()),
        };
        let of_installation = [&self.installation, &settings];
        let any = |is: fn(&Word) -> bool| of_installation.iter().any(|word| is(word));
        let installation = if any(|word| matches!(word, Word::No(_))) {
            Answer::No
        } else if any(|word| matches!(word, Word::Unclear(_))) {
            Answer::Unknown
        } else {
            Answer::Yes
        };
        let here = [&self.dotenv, &self.local_file, &self.project_file];
        let own = here.into_iter().chain([&self.profile]).cloned();
        let own: Vec<_> = [self.of_environment()].into_iter().chain(own).collect();
        let asked = own.iter().position(|word| matches!(word, Word::Yes(_)));
        let heard = &own[..asked.map_or(own.len(), |at| at + 1)];
        let (answer, reason) = judge(heard.iter().chain(of_installation));
        Consent { answer, reason, installation, mode: self.mode_of_all().0 }
    }

    fn of_environment(&self) -> Word {
        let in_environment = |name: &str, value: &str| format!("{name}={value} in the environment");
        if self.unsupported {
            return Word::No(
                "this platform is unsupported: file locks are relied on as Unix has them".into(),
            );
        }
        let (mode, by) = self.mode_of_all();
        if mode == Mode::Off {
            return Word::No(format!("the mode is off ({by})"));
        }
        let refuses = |value: &&String| {
            !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "false" | "no" | "off")
        };
        if let Some(value) = self.do_not_track.as_ref().filter(refuses) {
            return Word::No(in_environment("DO_NOT_TRACK", value));
        }
        if let Some((name, value)) = &self.ci {
            return Word::No(format!("{}: a CI host", in_environment(name, value)));
        }
        let Some((name, value)) = &self.opt_out else { return Word::Silent };
        let said = in_environment(name, value);
        match truth(value) {
            Some(true) => Word::Yes(said),
            Some(false) => Word::No(said),
            None => Word::No(format!("{said} is neither yes nor no")),
        }
    }

    /// The most restrictive mode, `settings.toml` included.
    fn mode_of_all(&self) -> (Mode, &str) {
        let set = self.settings.as_ref().ok().and_then(|settings| settings.mode);
        match set {
            Some(mode) if mode as u8 > self.mode.0 as u8 => (mode, "settings.toml"),
            _ => (self.mode.0, &self.mode.1),
        }
    }
}

fn judge<'a>(words: impl Iterator<Item = &'a Word> + Clone) -> (Answer, String) {
    let no = words.clone().find_map(|word| match word {
        Word::No(said) => Some((Answer::No, said.clone())),
        _ => None,
    });
    let unclear = || {
        words.clone().find_map(|word| match word {
            Word::Unclear(why) => Some((Answer::Unknown, why.clone())),
            _ => None,
        })
    };
    let yes = || {
        words.clone().find_map(|word| match word {
            Word::Yes(said) => Some((Answer::Yes, said.clone())),
            _ => None,
        })
    };
    no.or_else(unclear).or_else(yes).unwrap_or((Answer::Yes, "nobody refused".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Facts {
        Facts::default()
    }

    fn collecting(word: Word) -> Result<Settings, String> {
        Ok(Settings { collecting: word, ..Settings::default() })
    }

    /// Something that a source says, by its name.
    type Say = fn(&mut Facts, &str);

    /// Every source that can refuse, in its order, with how it refuses.
    const REFUSALS: [(&str, Say); 11] = [
        ("unsupported", |facts, _| facts.unsupported = true),
        ("the mode is off", |facts, who| facts.mode = (Mode::Off, who.into())),
        ("DO_NOT_TRACK", |facts, _| facts.do_not_track = Some("1".into())),
        ("CI", |facts, _| facts.ci = Some(("CI", "true".into()))),
        ("ACME", |facts, _| facts.opt_out = Some(("ACME".into(), "false".into()))),
        ("dotenv", |facts, who| facts.dotenv = Word::No(who.into())),
        ("local file", |facts, who| facts.local_file = Word::No(who.into())),
        ("project file", |facts, who| facts.project_file = Word::No(who.into())),
        ("profile", |facts, who| facts.profile = Word::No(who.into())),
        ("installation", |facts, who| facts.installation = Word::No(who.into())),
        ("settings", |facts, who| facts.settings = collecting(Word::No(who.into()))),
    ];

    /// Every source that can agree.
    const CONSENTS: [(&str, Say); 7] = [
        ("ACME", |facts, _| facts.opt_out = Some(("ACME".into(), "true".into()))),
        ("dotenv", |facts, who| facts.dotenv = Word::Yes(who.into())),
        ("local file", |facts, who| facts.local_file = Word::Yes(who.into())),
        ("project file", |facts, who| facts.project_file = Word::Yes(who.into())),
        ("profile", |facts, who| facts.profile = Word::Yes(who.into())),
        ("installation", |facts, who| facts.installation = Word::Yes(who.into())),
        ("settings", |facts, who| facts.settings = collecting(Word::Yes(who.into()))),
    ];

    /// Every source that may make no sense.
    const RIDDLES: [(&str, Say); 6] = [
        ("dotenv", |facts, who| facts.dotenv = Word::Unclear(who.into())),
        ("local file", |facts, who| facts.local_file = Word::Unclear(who.into())),
        ("project file", |facts, who| facts.project_file = Word::Unclear(who.into())),
        ("profile", |facts, who| facts.profile = Word::Unclear(who.into())),
        ("installation", |facts, who| facts.installation = Word::Unclear(who.into())),
        ("settings", |facts, who| facts.settings = Err(who.into())),
    ];

    fn rank(name: &str) -> usize {
        REFUSALS.iter().position(|(known, _)| *known == name).unwrap()
    }

    #[test]
    fn nobody_said_anything() {
        let consent = nothing().decide();
        assert_eq!((consent.answer, consent.installation), (Answer::Yes, Answer::Yes));
        assert_eq!(consent.reason, "nobody refused");
    }

    #[test]
    fn each_source_refuses_alone_and_of_two_the_higher_is_named() {
        for (at, (name, refuse)) in REFUSALS.iter().enumerate() {
            let mut facts = nothing();
            refuse(&mut facts, name);
            let consent = facts.decide();
            assert!(consent.answer == Answer::No && consent.reason.contains(name), "{name}: {consent:?}");
            let installation = if at >= rank("installation") { Answer::No } else { Answer::Yes };
            assert_eq!(consent.installation, installation, "{name}");
            for (lower, refuse_too) in &REFUSALS[at + 1..] {
                let mut facts = nothing();
                refuse_too(&mut facts, lower);
                refuse(&mut facts, name);
                assert!(facts.decide().reason.contains(name), "{name} before {lower}");
            }
        }
    }

    #[test]
    fn a_yes_lifts_what_stands_below_it_and_speaks_for_the_process_and_nothing_else() {
        for (agrees, agree) in CONSENTS {
            for (refuses, refuse) in REFUSALS {
                if agrees == refuses {
                    continue;
                }
                let mut facts = nothing();
                agree(&mut facts, agrees);
                refuse(&mut facts, refuses);
                let can_be = ["dotenv", "local file", "project file", "profile"];
                let lifted = can_be.contains(&refuses) && rank(agrees) < rank(refuses);
                let expected = if lifted { Answer::Yes } else { Answer::No };
                assert_eq!(facts.decide().answer, expected, "{agrees} says yes, {refuses} says no");
            }
        }
    }

    #[test]
    fn what_nobody_understands_is_unknown_unless_somebody_refused_or_it_is_not_asked() {
        for (riddle, make) in RIDDLES {
            let mut facts = nothing();
            make(&mut facts, riddle);
            let consent = facts.decide();
            assert_eq!((consent.answer, consent.reason.as_str()), (Answer::Unknown, riddle));
            let of_installation = rank(riddle) >= rank("installation");
            let installation = if of_installation { Answer::Unknown } else { Answer::Yes };
            assert_eq!(consent.installation, installation, "{riddle}");
            for (refuses, refuse) in REFUSALS.iter().filter(|(name, _)| *name != riddle) {
                let mut facts = facts.clone();
                refuse(&mut facts, refuses);
                assert_eq!(facts.decide().answer, Answer::No, "{riddle} and {refuses}");
            }
            for (agrees, agree) in CONSENTS.iter().filter(|(name, _)| *name != riddle) {
                let mut facts = facts.clone();
                agree(&mut facts, agrees);
                let is_asked = of_installation || rank(agrees) > rank(riddle);
                let expected = if is_asked { Answer::Unknown } else { Answer::Yes };
                assert_eq!(facts.decide().answer, expected, "{riddle}, and {agrees} says yes");
            }
        }
    }

    #[test]
    fn each_spelling_of_each_variable_means_what_its_table_says() {
        let opt_out =
            |word: &str| Facts { opt_out: Some(("ACME".into(), word.into())), ..nothing() }.decide().answer;
        for word in ["1", "true", "TRUE", "t", "yes", "Y", "on"] {
            assert_eq!(opt_out(word), Answer::Yes, "{word}");
        }
        for word in ["0", "false", "False", "f", "no", "N", "off", "", "maybe", "2"] {
            assert_eq!(opt_out(word), Answer::No, "{word}");
        }
        let do_not_track =
            |word: &str| Facts { do_not_track: Some(word.into()), ..nothing() }.decide().answer;
        for word in ["", "0", "false", "No", "OFF"] {
            assert_eq!(do_not_track(word), Answer::Yes, "{word}");
        }
        for word in ["1", "true", "yes", "y", "please"] {
            assert_eq!(do_not_track(word), Answer::No, "{word}");
        }
    }

    #[test]
    fn of_all_modes_the_most_restrictive_holds_and_the_reason_names_the_source() {
        let set = |mode| Ok(Settings { mode: Some(mode), ..Settings::default() });
        for (named, in_file, holds) in [
            (Mode::On, Mode::Local, Mode::Local),
            (Mode::Local, Mode::On, Mode::Local),
            (Mode::On, Mode::On, Mode::On),
            (Mode::On, Mode::Off, Mode::Off),
        ] {
            let facts = Facts { mode: (named, "the builder".into()), settings: set(in_file), ..nothing() };
            assert_eq!(facts.decide().mode, holds);
        }
        let off = Facts { settings: set(Mode::Off), ..nothing() }.decide();
        assert_eq!(off.reason, "the mode is off (settings.toml)");
        assert_eq!((off.answer, off.installation), (Answer::No, Answer::Yes));
        let asked = Facts { do_not_track: Some("1".into()), ..nothing() }.decide();
        assert_eq!(asked.reason, "DO_NOT_TRACK=1 in the environment");
    }
}
