//! The files that a reader opens to follow an upload or a download, as `docs/ARCHITECTURE.md` lists
//! them.

use std::path::{Path, PathBuf};

/// A transfer's way from the call to the socket.
#[derive(Debug)]
pub(crate) struct CodePath {
    /// `upload` or `download`.
    pub(crate) name: &'static str,
    /// The files of its table.
    pub(crate) table: Vec<PathBuf>,
    /// The files below the piece client and beside the table.
    pub(crate) others: Vec<PathBuf>,
    /// Lines of the files of the table, without tests.
    pub(crate) lines: usize,
}

/// Reads both paths from the document.
pub(crate) fn code_paths(root: &Path) -> Vec<CodePath> {
    let document = root.join("docs/ARCHITECTURE.md");
    let document = std::fs::read_to_string(document).unwrap_or_default();
    let paths = [("upload", "\n## Upload,"), ("download", "\n## Download,")];
    let paths = paths.into_iter().map(|(name, heading)| code_path(root, &document, name, heading));
    paths.collect()
}

fn code_path(root: &Path, document: &str, name: &'static str, heading: &str) -> CodePath {
    let section = document.split(heading).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let table = rows.filter_map(|row| row.split(" | ").nth(1)).flat_map(files).collect::<Vec<_>>();
    let lists = ["Down to the socket:", "Also on the way:"];
    let paragraphs = section.split("\n\n");
    let is_list = |text: &&str| lists.iter().any(|list| text.trim_start().starts_with(list));
    let others = paragraphs.filter(is_list).flat_map(files).collect();
    let lines = table.iter().map(|file| lines(&root.join(file))).sum();
    CodePath { name, table, others, lines }
}

/// Returns the files named in a text: each in backquotes, after the crate that it is in, which counts
/// until another file begins with `src/`.
fn files(text: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folder = "";
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 0 {
            folder = match part.split_whitespace().last() {
                Some("core") => "crates/uplink-core/src/",
                Some("rpc") => "crates/uplink-rpc/src/",
                Some("segment") => "crates/uplink-segment/src/",
                _ => folder,
            };
        } else if part.starts_with("src/") {
            files.push(PathBuf::from(part));
        } else if part.ends_with(".rs") {
            files.push(Path::new(folder).join(part));
        }
    }
    files
}

fn lines(file: &Path) -> usize {
    let source = std::fs::read_to_string(file).unwrap_or_default();
    super::without_tests(&source).lines().count()
}
