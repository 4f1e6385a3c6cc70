//! The demonstration, on files of a user's.

use serde_json::Value;

use crate::home::Home;
use crate::world::bytes;

/// What `sha256sum` says of nothing and of `abc`.
const SHA256_EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA256_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn report(home: &Home, args: &[&str]) -> Value {
    let lines = home.run(&[&["demo", "--json"], args].concat()).json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn a_file_comes_back_with_all_holders_stopped_that_may_be() {
    let home = Home::new();
    home.write("file", bytes(3_000_000));
    let report = report(&home, &["file"]);
    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "bytes",
        "sha256_up",
        "sha256_down",
        "holders",
        "stopped",
        "needed",
        "upload_s",
        "download_s",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(report["bytes"], 3_000_000);
    assert_eq!((&report["stopped"], &report["needed"]), (&Value::from(4), &Value::from(4)));
    assert!(report["holders"].as_u64().unwrap() >= 8, "{report}");
    assert_eq!(report["sha256_up"], report["sha256_down"]);
    assert!(report["upload_s"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["download_s"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn every_segment_of_a_large_file_has_its_row_and_enough_holders_left() {
    let home = Home::new();
    home.write("file", bytes((64 << 20) + 100_000));
    let text = home.run(&["demo", "file"]).ok();
    for (segment, size) in [("segment 0", "64.00 MiB"), ("segment 1", "97.66 KiB")] {
        let rows: Vec<_> = text.lines().filter(|line| line.contains(segment)).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(rows.iter().all(|row| row.contains(size)), "{text}");
        // "… 4 of 8 left"
        let left = rows[1].split_whitespace().rev().nth(3).unwrap();
        assert!(left.parse::<u64>().unwrap() >= 4, "{text}");
    }
    assert!(text.contains("came back whole"), "{text}");
}

#[test]
fn small_files_stay_with_the_satellite_and_hashes_are_those_of_the_file() {
    let home = Home::new();
    for (content, hash) in [("", SHA256_EMPTY), ("abc", SHA256_ABC)] {
        home.write("file", content);
        let report = report(&home, &["file", "--stop", "10"]);
        assert_eq!((&report["sha256_up"], &report["sha256_down"]), (&hash.into(), &hash.into()));
        assert_eq!((&report["holders"], &report["stopped"]), (&0.into(), &10.into()));
    }
}

#[test]
fn people_see_which_node_holds_which_piece_and_what_is_left() {
    let home = Home::new();
    home.write("file", bytes(100_000));
    let scheme = ["--nodes", "5", "--scheme", "2/3/4/4-64"];
    let text = home.run(&[&["demo", "file"], &scheme[..]].concat()).ok();
    // No colours where there is no terminal.
    assert!(!text.contains('\u{1b}'), "{text}");
    let rows: Vec<_> = text.lines().filter(|line| line.contains("segment 0")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].ends_with("4 holders") && rows[1].ends_with("2 of 4 left"), "{text}");
    for piece in ["0", "1", "2", "3"] {
        assert!(rows[0].split_whitespace().any(|cell| cell == piece), "{text}");
    }
    assert!(rows[1].contains("✗0") && rows[1].contains("✗1"), "{text}");
    assert!(text.contains("came back whole from 2 of 4 holders"), "{text}");
}

#[test]
fn one_holder_too_many_is_a_failure_with_pieces_found_and_needed() {
    let home = Home::new();
    home.write("file", bytes(100_000));
    // Eight nodes for eight pieces: there are exactly eight holders.
    let exact = ["demo", "file", "--nodes", "8", "--scheme", "4/6/8/8-256"];
    home.run(&[&exact[..], &["--stop", "4", "--json"]].concat()).json();
    home.run(&[&exact[..], &["--stop", "5", "--json"]].concat()).fails(7, "found 3, need 4");
    home.run(&[&exact[..], &["--stop", "8"]].concat()).fails(7, "found 0, need 4");
    home.run(&[&exact[..], &["--stop", "9"]].concat()).fails(2, "the network has 8");
}

#[test]
fn what_cannot_be_sent_or_started_is_one_sentence() {
    let home = Home::new();
    home.run(&["demo", "none"]).fails(3, "none");
    home.run(&["demo", "."]).fails(2, "is a directory");
    home.run(&["demo", "--nodes", "3"]).fails(2, "scheme 4/6/8/10-256 stores 8 pieces");
    home.run(&["demo", "--nodes", "300"]).fails(2, "1 to 256 storage nodes, not 300");
    home.run(&["demo", "--scheme", "9/6/8/10-256"]).fails(2, "--scheme");
}
