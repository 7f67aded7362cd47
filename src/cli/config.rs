//! `milepost config`.

use clap::Subcommand;
use milepost::{Changed, Setting};

use super::Common;
use super::output::{DONE, Objection, print_json, print_line, thousands};

#[derive(Subcommand)]
pub(super) enum Config {
    /// Sets a key: the product's own opt-out where its own command writes it; mode, endpoint, format and collecting
    /// in settings.toml
    Set {
        /// The key and its value
        #[arg(value_name = "KEY=VALUE")]
        setting: String,
        /// With mode=on: deliver what was collected in mode local, too
        #[arg(long)]
        include_waiting: bool,
    },
    /// Removes a key
    Unset {
        /// The key
        key: String,
    },
    /// Shows what is set, and where
    View,
}

impl Config {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        match self {
            Self::Set { setting, include_waiting } => {
                let (key, value) = setting
                    .split_once('=')
                    .ok_or_else(|| Objection::Usage(format!("{setting:?} is not KEY=VALUE")))?;
                let (key, value) = (key.trim(), value.trim());
                if *include_waiting && (key, value) != ("mode", "on") {
                    return Err(Objection::Usage("--include-waiting goes with mode=on".into()).into());
                }
                let changed = admin.set(key, value)?;
                if *include_waiting {
                    let events = admin.include_waiting()?;
                    eprintln!(
                        "milepost: {} events that were to stay here will be delivered",
                        thousands(events)
                    );
                }
                print_change(&changed, common.json)
            }
            Self::Unset { key } => print_change(&admin.unset(key)?, common.json),
            Self::View => print_settings(&admin.view()?, common.json),
        }
    }
}

fn print_change(changed: &Changed, json: bool) -> anyhow::Result<u8> {
    if json {
        print_json(changed)?;
        return Ok(DONE);
    }
    let what = if changed.changed { "was written" } else { "says so already" };
    let profile = changed.profile.as_ref().map(|name| format!(", the profile {name},")).unwrap_or_default();
    print_line(&format!("{}{profile} {what}", changed.file))?;
    if changed.dropped > 0 {
        print_line(&format!("{} events were deleted, unsent", thousands(changed.dropped)))?;
    }
    Ok(DONE)
}

fn print_settings(settings: &[Setting], json: bool) -> anyhow::Result<u8> {
    if json {
        print_json(&serde_json::json!({ "settings": settings }))?;
        return Ok(DONE);
    }
    for setting in settings {
        let profile =
            setting.profile.as_ref().map(|name| format!("the profile {name} of ")).unwrap_or_default();
        print_line(&format!("{} = {} in {profile}{}", setting.key, setting.value, setting.file))?;
    }
    Ok(DONE)
}
