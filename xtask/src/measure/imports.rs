//! Imports between the files of a crate, and the cycles among them.
//!
//! An import of a name that a module re-exports counts as an import of the file that declares it.
//! Re-exports themselves, test modules and files of tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{is_test_file, rust_files, without_tests};

/// Returns the import cycles below a crate's `src`, each as files relative to `src`.
pub(crate) fn cycles(src: &Path) -> Vec<Vec<String>> {
    let krate = Crate::read(src);
    let graph = krate.graph();
    let mut cycles = Vec::new();
    let mut seen = BTreeSet::new();
    for file in graph.keys() {
        if seen.contains(file) {
            continue;
        }
        let reached = reachable(&graph, file);
        let cycle: Vec<String> = reached
            .iter()
            .filter(|other| reachable(&graph, other).contains(file))
            .map(|other| (*other).clone())
            .collect();
        seen.extend(cycle.iter().cloned());
        if cycle.len() > 1 {
            cycles.push(cycle);
        }
    }
    cycles
}

type Graph = BTreeMap<String, BTreeSet<String>>;

fn reachable(graph: &Graph, from: &String) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(file) = waiting.pop() {
        for next in graph.get(file).into_iter().flatten() {
            if reached.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    reached
}

/// The modules of a crate by path, `a::b`; the root is the empty path.
struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

struct Module {
    file: String,
    imports: Vec<Vec<String>>,
    /// Name → path, for re-exports.
    exports: BTreeMap<String, Vec<String>>,
}

impl Crate {
    fn read(src: &Path) -> Self {
        let mut modules = BTreeMap::new();
        for file in rust_files(src) {
            let relative = file.strip_prefix(src).unwrap_or(&file).to_owned();
            if is_test_file(&relative) {
                continue;
            }
            let source = std::fs::read_to_string(&file).unwrap_or_default();
            let path = module_path(&relative);
            let module = Module::read(&relative, &path, without_tests(&source));
            modules.insert(path, module);
        }
        Self { modules }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for module in self.modules.values() {
            let edges = graph.entry(module.file.clone()).or_default();
            for import in &module.imports {
                let target = self.resolve(import, 8);
                edges.extend(target.filter(|target| *target != module.file));
            }
        }
        graph
    }

    /// Returns the file that declares the item at an absolute path.
    fn resolve(&self, path: &[String], depth: usize) -> Option<String> {
        let longest = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n]))?;
        let module = &self.modules[&path[..longest]];
        let export = path.get(longest).and_then(|name| module.exports.get(name));
        match export {
            Some(export) if depth > 0 => self.resolve(export, depth - 1),
            _ => Some(module.file.clone()),
        }
    }
}

fn module_path(relative: &Path) -> Vec<String> {
    let path = relative.with_extension("");
    let mut parts: Vec<String> =
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let root = parts.len() == 1 && ["lib", "main"].contains(&parts[0].as_str());
    if root || parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

impl Module {
    fn read(file: &Path, path: &[String], source: &str) -> Self {
        let mut imports = Vec::new();
        let mut exports = BTreeMap::new();
        for (public, statement) in statements(source) {
            for (import, name) in expand(&statement) {
                let Some(import) = absolute(path, &import) else { continue };
                match public {
                    true => drop(exports.insert(name, import)),
                    false => imports.push(import),
                }
            }
        }
        Self { file: PathBuf::from(file).to_string_lossy().into_owned(), imports, exports }
    }
}

/// Returns the `use` statements of a formatted file, and whether each is a re-export.
fn statements(source: &str) -> Vec<(bool, String)> {
    let mut statements = Vec::new();
    let mut rest = source;
    let mut for_tests = false;
    while let Some(line) = rest.lines().next() {
        let words = line.trim_start();
        let public = words.starts_with("pub use ") || words.starts_with("pub(crate) use ");
        let public = public || words.starts_with("pub(super) use ");
        let mut length = line.len() + 1;
        if public || words.starts_with("use ") {
            let end = rest.find(';').unwrap_or(rest.len());
            let text = &rest[..end];
            let path = text.split_once("use ").map_or("", |(_, path)| path);
            if !for_tests {
                statements.push((public, path.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
            length = end + 1;
        }
        for_tests = words.starts_with("#[cfg(test)]") || words.starts_with("#[cfg(doc)]");
        rest = rest.get(length..).unwrap_or_default();
    }
    statements
}

/// Expands `a::{b, c::{self, d}}` to paths and the names they bind.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((prefix, group)) = tree.split_once('{') {
        let prefix: Vec<String> = segments(prefix.trim().trim_end_matches("::"));
        let group = group.trim().strip_suffix('}').unwrap_or(group);
        return split_top(group)
            .into_iter()
            .flat_map(|part| expand(&part))
            .map(|(path, name)| {
                let is_self = path.last().is_some_and(|last| last == "self");
                let path = if is_self { path[..path.len() - 1].to_vec() } else { path };
                let whole: Vec<String> = prefix.iter().cloned().chain(path).collect();
                let name = if is_self { whole.last().cloned().unwrap_or_default() } else { name };
                (whole, name)
            })
            .collect();
    }
    let (path, name) = match tree.split_once(" as ") {
        Some((path, name)) => (segments(path), name.trim().to_owned()),
        None => {
            let path = segments(tree);
            let name = path.last().cloned().unwrap_or_default();
            (path, name)
        }
    };
    if path.is_empty() { Vec::new() } else { vec![(path, name)] }
}

fn segments(path: &str) -> Vec<String> {
    let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.trim_start_matches("r#").to_owned()).collect()
}

/// Splits at commas outside of braces.
fn split_top(group: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut depth = 0;
    let mut part = String::new();
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Returns the absolute path of an import within the crate; `None` for other crates.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
            while rest.get(1).is_some_and(|next| next == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => return None,
    }
    base.extend(rest.iter().skip(1).cloned());
    Some(base)
}
