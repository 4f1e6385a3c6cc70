//! Metrics of the source tree that the architecture limits: `cargo xtask measure` prints them, and
//! `tests/architecture.rs` enforces the limits.

use std::path::{Path, PathBuf};

mod imports;
mod lengths;
pub(crate) mod packages;
mod paths;
mod unsafety;
mod words;

pub(crate) use self::imports::cycles;
pub(crate) use self::lengths::{functions, percentile};
pub(crate) use self::paths::{CodePath, code_paths};
pub(crate) use self::unsafety::unsafe_files;
pub(crate) use self::words::forbidden_words;

/// Metrics of the source tree without tests and generated code.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// Groups of files that import each other, as `crate: a.rs ↔ b.rs`.
    pub(crate) circles: Vec<String>,
    /// Lines of the client above `satellite/` that name generated messages.
    pub(crate) protobuf: Vec<String>,
    /// Lengths of all functions, in ascending order.
    pub(crate) functions: Vec<usize>,
    /// Lengths of all files, in ascending order.
    pub(crate) files: Vec<usize>,
    /// `let (a, b) = (x, y);`
    pub(crate) tuple_lets: usize,
    /// Uses of words that the project does not use.
    pub(crate) words: Vec<String>,
    /// What a reader of an upload and of a download opens.
    pub(crate) paths: Vec<CodePath>,
    /// Files with unsafe code, relative to the root.
    pub(crate) unsafe_files: Vec<PathBuf>,
}

/// Measures the crates of the workspace at `root`.
pub(crate) fn measure(root: &Path) -> Measures {
    let mut measures = Measures {
        words: forbidden_words(root),
        paths: code_paths(root),
        unsafe_files: unsafe_files(root),
        ..Measures::default()
    };
    for (name, src) in crates(root) {
        for cycle in cycles(&src) {
            measures.circles.push(format!("{name}: {}", cycle.join(" ↔ ")));
        }
        for file in rust_files(&src) {
            let relative = file.strip_prefix(&src).unwrap_or(&file);
            if is_test_file(relative) || relative.starts_with("gen") {
                continue;
            }
            let source = std::fs::read_to_string(&file).unwrap_or_default();
            let source = without_tests(&source);
            measures.functions.extend(functions(source));
            measures.files.push(source.lines().count());
            measures.tuple_lets += source.lines().filter(|line| is_tuple_let(line)).count();
            if name == "uplink" && !relative.starts_with("satellite") {
                measures.protobuf.extend(protobuf(relative, source));
            }
        }
    }
    measures.functions.sort_unstable();
    measures.files.sort_unstable();
    measures
}

/// Prints the metrics.
pub(crate) fn print(root: &Path) {
    let measures = measure(root);
    println!("import cycles                {}", measures.circles.len());
    for cycle in &measures.circles {
        println!("  {cycle}");
    }
    println!("protobuf names in the client {}", measures.protobuf.len());
    for line in &measures.protobuf {
        println!("  {line}");
    }
    for (what, lengths) in [("functions", &measures.functions), ("files", &measures.files)] {
        let [p50, p90, p99] = [50, 90, 99].map(|percent| percentile(lengths, percent));
        let max = lengths.last().copied().unwrap_or_default();
        println!(
            "{what:<10} {:>6}: lines p50 {p50}, p90 {p90}, p99 {p99}, max {max}",
            lengths.len()
        );
    }
    for path in &measures.paths {
        let table = path.table.len();
        let all = table + path.others.len();
        println!(
            "{:<10} {table:>6} files, {} lines; {all} with all others on the way",
            path.name, path.lines
        );
    }
    println!("files with unsafe code       {}", measures.unsafe_files.len());
    println!("packages of the client       {}", packages::client_packages(root).len());
    println!("tuple lets                   {}", measures.tuple_lets);
    println!("forbidden words              {}", measures.words.len());
    for word in &measures.words {
        println!("  {word}");
    }
}

/// Returns name and source folder of each package.
fn crates(root: &Path) -> Vec<(String, PathBuf)> {
    let mut crates = vec![("uplink".to_owned(), root.join("src"))];
    crates.push(("xtask".to_owned(), root.join("xtask/src")));
    let entries = std::fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    for entry in entries {
        crates.push((entry.file_name().to_string_lossy().into_owned(), entry.path().join("src")));
    }
    crates.retain(|(_, src)| src.is_dir());
    crates.sort();
    crates
}

/// Returns all Rust files below a folder, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, &["rs"])
}

/// Returns the files below a folder with one of these extensions, sorted. Build output, hidden folders
/// and test vectors are left out.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() {
                let is_skipped = name.starts_with('.') || ["target", "vectors"].contains(&&*name);
                folders.extend((!is_skipped).then_some(path));
            } else if extensions.iter().any(|extension| name.ends_with(&format!(".{extension}"))) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Returns whether a program wrote the file.
fn is_generated(relative: &Path) -> bool {
    relative.components().any(|part| part.as_os_str() == "gen")
}

/// Returns whether a file contains only tests.
fn is_test_file(relative: &Path) -> bool {
    let named = |name: &str| name == "tests" || name.ends_with("_tests") || name == "simulation";
    let stem = relative.with_extension("");
    stem.components().any(|part| named(&part.as_os_str().to_string_lossy()))
}

/// Returns a source without the test module at its end.
fn without_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(source)
}

/// Returns whether a line binds several names to a tuple expression.
fn is_tuple_let(line: &str) -> bool {
    let line = line.trim_start();
    let Some(rest) = line.strip_prefix("let (") else { return false };
    let Some((_, value)) = rest.split_once(") = ") else { return false };
    value.starts_with('(')
}

/// Returns the lines that name generated messages.
fn protobuf(file: &Path, source: &str) -> Vec<String> {
    let names = ["r#gen", "metainfo::", "pointerdb::", "prost::"];
    let found = source.lines().enumerate().filter(|(_, line)| {
        !line.trim_start().starts_with("//") && names.iter().any(|name| line.contains(name))
    });
    found.map(|(number, line)| format!("{}:{}: {line}", file.display(), number + 1)).collect()
}
