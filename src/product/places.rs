//! Where a product has its home, and what in it shows that it was used before.

use std::path::{Path, PathBuf};

use super::Product;

impl Product {
    /// The product's home, or why there is none. `home` overrides its own.
    pub(crate) fn home_directory(&self, home: Option<&Path>) -> Result<PathBuf, String> {
        let from_env = || self.home_env.as_ref().and_then(std::env::var_os).filter(|value| !value.is_empty());
        let home = match home {
            Some(home) => home.to_path_buf(),
            None => from_env().map_or_else(|| PathBuf::from(&self.home), PathBuf::from),
        };
        let home = match home.strip_prefix("~") {
            Ok(rest) => {
                dirs::home_dir().ok_or("no home directory: set HOME, or name a directory")?.join(rest)
            }
            Err(_) => home,
        };
        std::path::absolute(&home).map_err(|error| format!("{}: {error}", home.display()))
    }

    /// The telemetry directory in a home.
    pub(crate) fn directory_in(&self, home: &Path) -> PathBuf {
        home.join(&self.folder)
    }

    /// The paths of which any shows that the product was used before.
    pub(crate) fn traces(&self, home: Option<&Path>) -> Vec<PathBuf> {
        let home = self.home_directory(home);
        home.map_or_else(|_| Vec::new(), |home| self.traces.iter().map(|name| home.join(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_folder_in_the_home() {
        let product = Product::new("a", "1").home("/srv/a").folder("x/y");
        let directory =
            |home: Option<&str>| product.directory_in(&product.home_directory(home.map(Path::new)).unwrap());
        assert_eq!(directory(None), Path::new("/srv/a/x/y"));
        assert_eq!(directory(Some("/tmp/b")), Path::new("/tmp/b/x/y"));
    }
}
