//! What can be said against a product without looking at a disk.

use std::path::{Component, Path};

use super::{Declared, Product, destination};
use crate::error::{Error, Result};
use crate::event::is_name;
use crate::limits::NAME_BYTES_MAX;

impl Product {
    /// Checks what can be checked without a disk.
    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = |what: &str, value: &str| {
            Err(Error::invalid(format!("the product's {what} {value:?} cannot be used")))
        };
        if !is_name(&self.name) {
            return wrong("name", &self.name);
        }
        for (what, text) in [
            ("version", &self.version),
            ("runtime", &self.runtime),
            ("runtime version", &self.runtime_version),
        ] {
            if text.len() > NAME_BYTES_MAX {
                return wrong(what, text);
            }
        }
        let plain = |component| matches!(component, Component::Normal(_));
        if self.folder.is_empty() || !Path::new(&self.folder).components().all(plain) {
            return wrong("folder", &self.folder);
        }
        let files = &self.files;
        let is_bare = |name: &String| {
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        };
        for (what, name) in [
            ("local file", &files.local_file),
            ("file of variables", &files.dotenv),
            ("file of the project", &files.project_file.as_ref().map(|project| project.file.clone())),
            ("file of profiles", &files.profiles.as_ref().map(|profiles| profiles.file.clone())),
        ] {
            if let Some(name) = name.as_ref().filter(|name| !is_bare(name)) {
                return wrong(what, name);
            }
        }
        if let Some(setting) = files.setting.as_ref().filter(|setting| setting.split('.').any(str::is_empty))
        {
            return wrong("setting", setting);
        }
        let table = files.project_file.as_ref().map(|project| &project.table);
        if let Some(table) = table.filter(|table| table.split('.').any(str::is_empty)) {
            return wrong("table of the project's file", table);
        }
        if (files.profiles.is_some() || files.dotenv.is_some()) && self.opt_out_env.is_none() {
            return wrong("file of profiles or variables, without a variable to opt out by,", "");
        }
        let has_settings = files.local_file.is_some() || files.project_file.is_some();
        if files.setting.is_none() && (has_settings || files.server.is_some()) {
            return wrong("file or server, without the setting that counts in it,", "");
        }
        if let Declared::Only { events, integrations } = &self.declared {
            if let Some(name) = events.keys().find(|name| !is_name(name)) {
                return wrong("event", name);
            }
            // With a colon, its events would be those of another.
            let is_integration = |name: &str| is_name(name) && !name.contains(':');
            if let Some(name) = integrations.keys.keys().find(|name| !is_integration(name)) {
                return wrong("integration", name);
            }
        }
        if let Some(name) = self.milestones.iter().find(|name| !is_name(name)) {
            return wrong("milestone", name);
        }
        destination::validate(&self.destinations, &self.routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_that_cannot_work_is_named() {
        let cases = [
            (Product::new("", "1"), "name"),
            (Product::new("no spaces", "1"), "name"),
            (Product::new("a", "1".repeat(129)), "version"),
            (Product::new("a", "1").folder("../up"), "folder"),
            (Product::new("a", "1").folder("/root"), "folder"),
            (Product::new("a", "1").folder(""), "folder"),
            (Product::new("a", "1").event("no spaces", ["k"]), "event"),
            (Product::new("a", "1").milestone("no spaces"), "milestone"),
            (Product::new("a", "1").setting("a.b").local_file("../up.toml"), "local file"),
            (Product::new("a", "1").local_file("a.toml"), "without the setting"),
            (Product::new("a", "1").project_file("a.toml", "tool.a"), "without the setting"),
            (Product::new("a", "1").setting("b").project_file("a.toml", "tool."), "table"),
            (Product::new("a", "1").dotenv(".env"), "without a variable"),
            (Product::new("a", "1").opt_out_env("A").dotenv("/etc/env"), "file of variables"),
            (Product::new("a", "1").server("A_URL", "settings"), "without the setting"),
            (Product::new("a", "1").setting("a..b"), "setting"),
            (Product::new("a", "1").profiles("p.toml", "d"), "without a variable"),
            (Product::new("a", "1").opt_out_env("A").profiles("/p.toml", "d"), "file of profiles"),
            (Product::new("a", "1").integration("aws:s3", ["k"]), "integration"),
        ];
        for (product, what) in cases {
            let error = product.validate().unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        Product::prefect("3.8.8").validate().unwrap();
    }
}
