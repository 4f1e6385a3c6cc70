//! Runs the committed inputs of the fuzz targets as plain tests: seeds and past findings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub)] // a library of its own in `fuzz/`
mod fuzz;
#[path = "fuzz_corpus/seeds.rs"]
mod seeds;

/// Maximum total size of all committed inputs in bytes.
const MAX_CORPUS_SIZE: usize = 200 << 10;

/// Environment variable that makes the test write missing seeds instead of failing.
const WRITE: &str = "UPLINK_WRITE_CORPUS";

#[test]
fn every_committed_input_passes_its_target() {
    let mut bytes = 0;
    for (name, target) in fuzz::TARGETS {
        let inputs = inputs(name);
        println!("{name}: {} inputs", inputs.len());
        assert!(inputs.len() >= 3, "fuzz/corpus/{name} has too few inputs");
        for path in inputs {
            println!("{}", path.display());
            let input = fs::read(&path).expect("an input");
            bytes += input.len();
            target(&input);
        }
    }
    assert!(bytes <= MAX_CORPUS_SIZE, "{bytes} bytes are too many for a repository");
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz_folder().join(folder)).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.map(|path| path.file_stem().unwrap_or_default().display().to_string()).collect()
    };
    let targets: BTreeSet<String> = fuzz::TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}

#[test]
fn corpus_contains_the_seeds_from_the_vectors() {
    let mut missing = Vec::new();
    for (name, seed) in seeds::all() {
        assert!(fuzz::TARGETS.iter().any(|target| target.0 == name), "{name}");
        let hash = blake3::hash(&seed).to_hex();
        let path = fuzz_folder().join("corpus").join(name).join(&hash[..16]);
        if fs::read(&path).is_ok_and(|committed| committed == seed) {
            continue;
        }
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
            fs::write(&path, seed).expect("a seed is written");
        } else {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "run this test with {WRITE}=1 to make {missing:?}");
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = fuzz_folder().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
