//! The module `blocking` and the asynchronous API cannot drift apart: their signatures are compared, as
//! the sources have them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Traits of asynchronous handles, with the trait of the blocking handle.
///
/// A blocking `Download` is no iterator although the asynchronous one is a stream: methods such as `take`
/// would be ambiguous beside those of `Read`.
const TRAITS: [(&str, &str); 4] = [
    ("AsyncRead", "io::Read"),
    ("AsyncSeek", "io::Seek"),
    ("AsyncWrite", "io::Write"),
    ("Stream", "Iterator"),
];
const WITHOUT_TRAIT: (&str, &str) = ("Download", "Stream");

/// Operations that only the module `blocking` has.
const ONLY_BLOCKING: [(&str, &str); 2] = [("Project", "close"), ("runtimes", "runtime")];

/// Public functions and implemented traits of some sources.
#[derive(Default)]
struct Api {
    /// Type (or module, for functions outside of a type) and name → function.
    functions: BTreeMap<(String, String), Function>,
    /// Type and trait.
    traits: BTreeSet<(String, String)>,
}

struct Function {
    is_async: bool,
    /// Type parameters, parameters and result, on one line.
    signature: String,
}

#[test]
fn every_async_operation_has_a_blocking_twin() {
    let (asynchronous, twins) = apis();
    let handles: BTreeSet<&str> =
        twins.traits.iter().chain(twins.functions.keys()).map(|(name, _)| name.as_str()).collect();
    let mut compared = 0;
    for ((noun, name), function) in &asynchronous.functions {
        let (expected, signature) = match handles.contains(noun.as_str()) {
            true => ((noun.clone(), name.clone()), function.signature.clone()),
            false if function.is_async => ((snake(noun), name.clone()), function.detached(noun)),
            false => continue,
        };
        let twin = twins.functions.get(&expected);
        let twin = twin.unwrap_or_else(|| panic!("blocking has no twin of {noun}::{name}"));
        assert_eq!(twin.signature, signature, "{noun}::{name}");
        compared += 1;
    }
    assert!(compared >= 56, "only {compared} operations were compared");
}

#[test]
fn blocking_has_no_operation_of_its_own_but_those_named() {
    let (asynchronous, twins) = apis();
    for (noun, name) in twins.functions.keys() {
        let same = |(other, known): &(String, String)| {
            known == name && (other == noun || snake(other) == *noun)
        };
        let is_known = asynchronous.functions.keys().any(same);
        let is_own = ONLY_BLOCKING.contains(&(noun, name));
        assert!(is_known || is_own, "{noun}::{name} is only in blocking");
    }
}

#[test]
fn blocking_handles_have_the_traits_of_the_async_ones() {
    let (asynchronous, twins) = apis();
    let mut compared = 0;
    for (name, implemented) in &asynchronous.traits {
        let twin = TRAITS.iter().find(|(asynchronous, _)| asynchronous == implemented);
        let Some((_, twin)) = twin else { continue };
        let is_known = (name.as_str(), implemented.as_str()) == WITHOUT_TRAIT;
        let twin = (name.clone(), (*twin).to_owned());
        assert!(is_known || twins.traits.contains(&twin), "blocking lacks {twin:?}");
        compared += 1;
    }
    assert_eq!(compared, 9, "four listings, two uploads, and a download with three traits");
}

/// Returns the asynchronous API and the blocking one.
fn apis() -> (Api, Api) {
    let folder = root().join("src");
    let files = sources(&folder);
    let is_blocking = |file: &PathBuf| file.starts_with(folder.join("blocking"));
    let (blocking, asynchronous): (Vec<_>, Vec<_>) = files.into_iter().partition(is_blocking);
    (Api::read(&asynchronous), Api::read(&blocking))
}

impl Api {
    fn read(files: &[PathBuf]) -> Self {
        let mut api = Self::default();
        for file in files {
            let source = std::fs::read_to_string(file).expect("a source");
            let module = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            api.add(module, &source);
        }
        api
    }

    /// Adds what a formatted source declares: blocks begin and end in the first column, and functions of
    /// a type four columns further.
    fn add(&mut self, module: &str, source: &str) {
        let mut noun = module.to_owned();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if let Some(header) = line.strip_prefix("impl") {
                noun = self.begin(header);
            } else if line == "}" {
                module.clone_into(&mut noun);
            }
            let indent = if noun == module { "pub " } else { "    pub " };
            let Some(function) = line.strip_prefix(indent) else { continue };
            let (is_async, function) = match function.strip_prefix("async ") {
                Some(function) => (true, function),
                None => (false, function),
            };
            let Some(function) = function.strip_prefix("fn ") else { continue };
            let mut text = function.to_owned();
            while !text.ends_with('{') {
                text.push_str(lines.next().expect("the end of the signature"));
            }
            let length = text.find(['(', '<']).expect("parameters");
            let (name, signature) = text.split_at(length);
            let function = Function { is_async, signature: normal(signature) };
            self.functions.insert((noun.clone(), name.to_owned()), function);
        }
    }

    /// Returns the type of an `impl` block, and records its trait.
    fn begin(&mut self, header: &str) -> String {
        let header = header.trim_end_matches("{}").trim_end_matches('{').trim();
        match header.split_once(" for ") {
            Some((implemented, noun)) => {
                self.traits.insert((noun.to_owned(), implemented.to_owned()));
                noun.to_owned()
            }
            None => header.to_owned(),
        }
    }
}

impl Function {
    /// Returns the signature of the function outside of its type.
    fn detached(&self, noun: &str) -> String {
        let parameter = format!("{}: &{noun}", snake(noun));
        self.signature.replace("&self", &parameter).replace("Self", noun)
    }
}

/// Returns a signature on one line, without what differs only by its length or body.
fn normal(signature: &str) -> String {
    let words: Vec<&str> = signature.trim_end_matches('{').split_whitespace().collect();
    let line = words.join(" ").replace("( ", "(").replace(", )", ")").replace(",)", ")");
    line.replace("(mut self", "(self")
}

/// Returns the module for the functions of a type, `access` for `Access`.
fn snake(noun: &str) -> String {
    let mut snake = String::new();
    for letter in noun.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Returns the Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
