//! Which types contain a secret, found in the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders whose types a user of the client can see.
const FOLDERS: [&str; 4] =
    ["src", "crates/uplink-core/src", "crates/uplink-rpc/src", "crates/uplink-segment/src"];

/// Wrappers and foreign types that make what contains them a secret.
const ROOTS: [&str; 8] = [
    "EcdsaKeyPair",
    "Ed25519KeyPair",
    "KeyPair",
    "LessSafeKey",
    "PrivatePkcs8KeyDer",
    "RegisteredAccess",
    "Secret",
    "Zeroizing",
];

/// Names of types without secrets that contain the name of another type, and why.
const HARMLESS: [&str; 6] = [
    "CipherSuite",  // `SecretBox` is also a suite's name
    "Corrector",    // `Base` is also a private type of the decoder
    "LinkError",    // `Bucket` is also a message
    "Shortage",     // `Download` is also a variant
    "Uploaded",     // its object has no key
    "UploadStatus", // `Shortage` is also a variant
];

struct Declaration {
    folder: &'static str,
    name: String,
    is_public: bool,
    words: BTreeSet<String>,
}

/// A type's name, and the folder in which it is known; `None` for everywhere.
type Name = (String, Option<&'static str>);

/// Returns the names of all public types that contain a secret, directly or in a field of a field.
pub(crate) fn public_types_with_secrets() -> BTreeSet<String> {
    let declarations: Vec<Declaration> = FOLDERS.into_iter().flat_map(declarations).collect();
    let mut secret: BTreeSet<Name> =
        ROOTS.into_iter().map(|root| (root.to_owned(), None)).collect();
    loop {
        let count = secret.len();
        let found = declarations.iter().filter(|declaration| declaration.contains_any(&secret));
        let found: Vec<Name> = found.map(Declaration::full_name).collect();
        secret.extend(found);
        if secret.len() == count {
            break;
        }
    }
    let public = declarations.iter().filter(|declaration| declaration.is_public);
    let secret = public.filter(|declaration| secret.contains(&declaration.full_name()));
    secret.map(|declaration| declaration.name.clone()).collect()
}

impl Declaration {
    fn full_name(&self) -> Name {
        (self.name.clone(), (!self.is_public).then_some(self.folder))
    }

    fn contains_any(&self, secret: &BTreeSet<Name>) -> bool {
        let is_secret = |word: &String| {
            let is_known = |folder| secret.contains(&(word.clone(), folder));
            is_known(None) || is_known(Some(self.folder))
        };
        self.words.iter().any(is_secret)
    }
}

fn declarations(folder: &'static str) -> Vec<Declaration> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for file in files(&root) {
        let source = std::fs::read_to_string(&file).expect("a source");
        let lines: Vec<&str> = source.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            found.extend(declaration(folder, line, &lines[index..]));
        }
    }
    assert!(found.len() > 10, "{folder}: only {} types were found", found.len());
    found
}

/// Returns the declaration that starts in a line, if there is one that may contain a secret.
fn declaration(folder: &'static str, line: &str, rest: &[&str]) -> Option<Declaration> {
    let (visibility, kind) = ["pub ", "pub(crate) ", "pub(super) ", ""]
        .into_iter()
        .find_map(|visibility| Some((visibility, line.strip_prefix(visibility)?)))?;
    let after = ["struct ", "enum "].into_iter().find_map(|kind_name| kind.strip_prefix(kind_name));
    let name: String = words(after?).next()?;
    // Errors carry texts, which are searched where they are made.
    if HARMLESS.contains(&name.as_str()) || name.ends_with("Error") {
        return None;
    }
    let end = |line: &&&str| line.starts_with('}') || line.ends_with(';') || line.ends_with("{}");
    let length = 1 + rest.iter().position(|line| end(&line))?;
    let code = rest[..length].iter().map(|line| line.split("//").next().unwrap_or_default());
    let words = code.flat_map(words).filter(|word| *word != name).collect();
    Some(Declaration { folder, name, is_public: visibility == "pub ", words })
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.split(move |letter| !is_part(letter)).filter(|word| !word.is_empty()).map(str::to_owned)
}

/// Returns the Rust files of a folder, without tests and generated messages.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let paths = entries.map(|entry| entry.path());
    let inside = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let is_source = |path: &PathBuf| {
        let text = path.to_string_lossy();
        text.ends_with(".rs") && !text.contains("/gen/") && !text.contains("/tests")
    };
    paths.flat_map(inside).filter(is_source).collect()
}
