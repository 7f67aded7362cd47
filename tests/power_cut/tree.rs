//! A directory with all that is in it, in memory and for real.

use std::collections::BTreeMap;
use std::path::Path;

/// What stands below the home directory after a cut.
pub(crate) type Tree = BTreeMap<String, Node>;

#[derive(PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File(Vec<u8>),
    /// Another name of the file at this path.
    Link(String),
}

/// Writes a tree to a real directory.
pub(crate) fn build(tree: &Tree, directory: &Path) {
    for (path, node) in tree {
        let path = directory.join(path);
        match node {
            Node::Directory => std::fs::create_dir(path).unwrap(),
            Node::File(bytes) => std::fs::write(path, bytes).unwrap(),
            Node::Link(first) => std::fs::hard_link(directory.join(first), path).unwrap(),
        }
    }
}

/// Whether two trees are the same, but for zeroes at the ends of files: sled cuts its file on several threads at
/// once, and nobody sees in which order the kernel does that.
pub(crate) fn is_same(left: &Tree, right: &Tree) -> bool {
    let trimmed = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    left.keys().eq(right.keys())
        && left.values().zip(right.values()).all(|nodes| match nodes {
            (Node::File(left), Node::File(right)) => left[..trimmed(left)] == right[..trimmed(right)],
            (left, right) => left == right,
        })
}

/// Reads a real directory.
pub(crate) fn read(directory: &Path) -> Tree {
    fn walk(directory: &Path, path: &str, tree: &mut Tree) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                tree.insert(path.clone(), Node::Directory);
                walk(&entry.path(), &path, tree);
            } else {
                tree.insert(path, Node::File(std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut found = Tree::new();
    walk(directory, "", &mut found);
    found
}
