//! What a process that ends does about events that wait.

use std::path::PathBuf;
use std::time::Duration;

/// What a process that ends does about events that wait, its own and others': where only short commands ever
/// run, nobody else delivers.
///
/// A program that runs on, a worker or a server, needs none of this: it delivers all the while.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Exit {
    /// Leaves them to whoever runs next. The default: nobody waits for a network at the end.
    #[default]
    Leave,
    /// Delivers for so long at most, if no other process does: for containers without a volume, and for CI where
    /// collecting there was agreed to.
    Spend(Duration),
    /// Leaves them to a process of its own: this program, which is `milepost` or one that takes its arguments, is
    /// started as `milepost flush`, detached, with 60 s to do it in. Once a day at most for an installation, only
    /// where something waits that nobody delivers, and never on a CI host.
    Spawn(PathBuf),
}
