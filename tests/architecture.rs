//! The rules of the source tree that no compiler knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "../xtask/src/measure/mod.rs"]
#[expect(dead_code, reason = "printing is for the command")]
mod measure;

mod architecture {
    mod blocking;
}

/// Allowed dependencies between packages, apart from tests: the arrows of `docs/ARCHITECTURE.md`.
const EDGES: [(&str, &[&str]); 11] = [
    ("uplink-core", &[]),
    ("uplink-rpc", &["uplink-core"]),
    ("uplink-segment", &["uplink-core", "uplink-rpc"]),
    ("uplink", &["uplink-core", "uplink-rpc", "uplink-segment"]),
    ("uplink-server", &["uplink-core", "uplink-rpc"]),
    ("uplink-satellite", &["uplink-core", "uplink-rpc", "uplink-server"]),
    ("uplink-storagenode", &["uplink-core", "uplink-rpc", "uplink-server"]),
    ("uplink-testnet", &["uplink-core", "uplink-rpc", "uplink-satellite", "uplink-storagenode"]),
    ("uplink-cli", &["uplink", "uplink-testnet"]),
    ("uplink-interop", &[]),
    ("xtask", &[]),
];

/// Packages that must not be anywhere; `deny.toml` says why.
const BANNED: [&str; 5] = ["native-tls", "openssl", "openssl-sys", "ring", "rusqlite"];

/// Maximum packages of the client with its default features, by name and version.
const CLIENT_PACKAGES: usize = 160;

/// The files with unsafe code: vector instructions, huge pages, and another library's functions in
/// a benchmark.
const UNSAFE_FILES: [&str; 3] = [
    "benches/isa_l/mod.rs",
    "crates/uplink-core/src/erasure/simd.rs",
    "crates/uplink-segment/src/memory/slab.rs",
];

/// Maximum files and lines of the tables in `docs/ARCHITECTURE.md` that follow a transfer.
const TABLE_FILES: usize = 12;
const TABLE_LINES: usize = 2_800;
/// Maximum files that a reader of a transfer opens in all. 20 is the target.
const READER_FILES: [(&str, usize); 2] = [("upload", 39), ("download", 30)];

/// Maximum lines of a source file.
const FILE_LINES: usize = 800;

/// Percentiles of lengths in lines, and their limits.
const FUNCTION_LINES: [(usize, usize); 4] = [(50, 10), (90, 35), (99, 60), (100, 70)];
const FILE_LENGTHS: [(usize, usize); 2] = [(50, 250), (90, 500)];

/// Maximum `let (a, b) = (x, y);` in the workspace.
const TUPLE_LETS: usize = 10;

#[test]
fn packages_depend_only_along_the_arrows_of_the_picture() {
    let metadata = metadata(&["--no-deps"]);
    let allowed = BTreeMap::from(EDGES);
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages.iter().map(|package| text(&package["name"])).collect();
    assert_eq!(names, allowed.keys().copied().collect(), "the picture and the workspace differ");
    for package in packages {
        let name = text(&package["name"]);
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = text(&dependency["name"]);
            let in_tests = dependency["kind"] == "dev";
            // A server or the testnet that used the client in tests would build it twice.
            let below_client = ["uplink-satellite", "uplink-storagenode", "uplink-testnet"];
            let twice = in_tests && other == "uplink" && below_client.contains(&name);
            let along = !names.contains(other) || allowed[name].contains(&other);
            assert!((along || in_tests) && !twice, "{name} may not depend on {other}");
        }
    }
}

#[test]
fn no_shipped_program_can_make_storage_nodes_lie() {
    let metadata = metadata(&["--no-deps"]);
    for package in metadata["packages"].as_array().expect("packages") {
        let features = package["dependencies"].as_array().expect("dependencies").iter();
        let faults = features.filter(|dependency| {
            let features = dependency["features"].as_array().expect("features");
            features.iter().any(|feature| feature == "faults")
        });
        for (feature, parts) in package["features"].as_object().expect("features") {
            let turns_on = |part: &Value| text(part).rsplit('/').next() == Some("faults");
            let any = parts.as_array().expect("a list").iter().any(turns_on);
            assert!(!any, "feature {feature} of {} turns on faults", package["name"]);
        }
        for dependency in faults {
            assert_eq!(dependency["kind"], "dev", "{} turns on faults", package["name"]);
        }
    }
}

#[test]
fn default_client_is_small_and_nothing_uses_banned_packages() {
    let packages = measure::packages::client_packages(&root());
    assert!(packages.len() > 50, "only {} packages were found", packages.len());
    println!("{} packages under the default client", packages.len());
    assert!(packages.len() <= CLIENT_PACKAGES, "{} packages: {packages:?}", packages.len());
    let all = measure::packages::packages(&root(), &["--workspace", "--edges", "normal,build,dev"]);
    assert!(all.is_superset(&packages));
    let names: BTreeSet<&str> =
        all.iter().filter_map(|package| package.split(' ').next()).collect();
    for banned in BANNED {
        assert!(!names.contains(banned), "{banned} is in the workspace");
    }
}

#[test]
fn every_shared_dependency_says_why_it_is_there() {
    let manifest = read(&root().join("Cargo.toml"));
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the section");
    let section = section.split("\n[").next().expect("its end");
    let lines = section.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
    let reasons = lines.map(|line| assert!(line.contains(" # "), "no reason given: {line}"));
    assert!(reasons.count() > 50);
}

#[test]
fn source_files_are_short_and_free_of_unfinished_marks() {
    let mut seen = 0;
    for file in source_files() {
        let source = read(&file);
        let lines = source.lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines", file.display());
        // This file names the words.
        let words = ["todo!(", "unimplemented!("].iter();
        for word in words.filter(|_| !file.ends_with("tests/architecture.rs")) {
            assert!(!source.contains(word), "{} contains {word:?}", file.display());
        }
        seen += 1;
    }
    assert!(seen > 100, "only {seen} source files were found");
}

#[test]
fn unsafe_code_is_only_in_the_files_named_here() {
    let expected = UNSAFE_FILES.map(PathBuf::from);
    assert_eq!(measure::unsafe_files(&root()), expected);
}

#[test]
fn upload_and_download_are_followed_in_few_files() {
    let paths = measure::code_paths(&root());
    assert_eq!(paths.len(), READER_FILES.len());
    for (path, (name, all)) in paths.iter().zip(READER_FILES) {
        assert_eq!(path.name, name);
        let files = path.table.iter().chain(&path.others).collect::<BTreeSet<_>>();
        for file in &files {
            assert!(root().join(file).is_file(), "{name}: {} does not exist", file.display());
        }
        assert!((5..=TABLE_FILES).contains(&path.table.len()), "{name}: {:?}", path.table);
        assert!((1_000..=TABLE_LINES).contains(&path.lines), "{name}: {} lines", path.lines);
        assert!(files.len() <= all, "{name}: {} files", files.len());
    }
}

#[test]
fn files_of_a_crate_import_each_other_in_no_circle() {
    let circles = measure::measure(&root()).circles;
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn functions_and_files_are_short_without_packing() {
    let measures = measure::measure(&root());
    let lengths = [
        ("functions", &measures.functions, &FUNCTION_LINES[..]),
        ("files", &measures.files, &FILE_LENGTHS[..]),
    ];
    for (what, lengths, limits) in lengths {
        for (percent, limit) in limits {
            let lines = measure::percentile(lengths, *percent);
            assert!(lines <= *limit, "p{percent} of {what}: {lines} lines, limit {limit}");
        }
    }
    assert!(measures.tuple_lets <= TUPLE_LETS, "{} tuple lets", measures.tuple_lets);
}

#[test]
fn sources_and_documents_use_the_words_of_the_field() {
    let words = measure::measure(&root()).words;
    assert!(words.is_empty(), "{words:#?}");
}

#[test]
fn protobuf_messages_stay_in_the_satellite_module() {
    let measures = measure::measure(&root());
    assert!(measures.protobuf.is_empty(), "{:#?}", measures.protobuf);
}

/// Returns all Rust files of the project that are not generated.
fn source_files() -> Vec<PathBuf> {
    let mut folders = vec![root()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                let skipped = name.starts_with('.') || ["target", "gen"].contains(&name);
                folders.extend((!skipped).then_some(path));
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files
}

/// A test runs every group of every vector file, or names it with the reason why not.
#[test]
fn every_vector_group_is_claimed_by_a_test() {
    let tests: String = source_files()
        .iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "tests"))
        .map(|file| read(file))
        .collect();
    // As a text in code, or in the table of a test's documentation.
    let claimed =
        |group: &str| ["\"", "`"].iter().any(|q| tests.contains(&format!("{q}{group}{q}")));
    for name in ["access", "erasure", "transport", "rpc-transcripts"] {
        let path = root().join(format!("tests/vectors/{name}.json"));
        let vectors: Value = serde_json::from_str(&read(&path)).expect("JSON");
        for (group, cases) in vectors.as_object().expect("groups") {
            if ["about", "_readme"].contains(&group.as_str()) {
                continue;
            }
            assert!(claimed(group), "no test runs {name}.json: {group}");
            // These have groups of their own.
            let inner = cases.as_object().filter(|_| ["identity", "orders"].contains(&&**group));
            for inner in inner.into_iter().flatten().map(|(inner, _)| inner) {
                let whole = format!("{group}.{inner}");
                assert!(
                    claimed(group) && (claimed(inner) || claimed(&whole)),
                    "no test runs {whole}"
                );
            }
        }
    }
}

fn metadata(arguments: &[&str]) -> Value {
    let mut all = vec!["metadata", "--format-version", "1"];
    all.extend(arguments);
    serde_json::from_str(&cargo(&all)).expect("JSON")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--locked")
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
