//! `uplink demo` with files of the user.

use serde_json::Value;

use crate::home::Home;
use crate::world::bytes;

/// Output of `sha256sum` for empty input and for `abc`.
const SHA256_EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA256_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn report(home: &Home, args: &[&str]) -> Value {
    let lines = home.run(&[&["demo", "--json"], args].concat()).json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn file_comes_back_with_the_maximum_of_holders_stopped() {
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
fn every_segment_has_a_row_and_enough_holders_left() {
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
    assert!(text.contains("came back intact"), "{text}");
}

#[test]
fn small_files_are_inline_and_hashes_match_the_file() {
    let home = Home::new();
    for (content, hash) in [("", SHA256_EMPTY), ("abc", SHA256_ABC)] {
        home.write("file", content);
        let report = report(&home, &["file", "--stop", "10"]);
        assert_eq!((&report["sha256_up"], &report["sha256_down"]), (&hash.into(), &hash.into()));
        assert_eq!((&report["holders"], &report["stopped"]), (&0.into(), &10.into()));
    }
}

#[test]
fn text_shows_holders_of_pieces_and_running_ones() {
    let home = Home::new();
    home.write("file", bytes(100_000));
    let scheme = ["--nodes", "5", "--scheme", "2/3/4/4-64"];
    let text = home.run(&[&["demo", "file"], &scheme[..]].concat()).ok();
    // Without a terminal there are no colours.
    assert!(!text.contains('\u{1b}'), "{text}");
    let rows: Vec<_> = text.lines().filter(|line| line.contains("segment 0")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].ends_with("4 holders") && rows[1].ends_with("2 of 4 left"), "{text}");
    for piece in ["0", "1", "2", "3"] {
        assert!(rows[0].split_whitespace().any(|cell| cell == piece), "{text}");
    }
    assert!(rows[1].contains("✗0") && rows[1].contains("✗1"), "{text}");
    assert!(text.contains("came back intact from 2 of 4 holders"), "{text}");
}

#[test]
fn one_stopped_holder_too_many_fails_with_piece_counts() {
    let home = Home::new();
    home.write("file", bytes(100_000));
    // Eight nodes for eight pieces give exactly eight holders.
    let exact = ["demo", "file", "--nodes", "8", "--scheme", "4/6/8/8-256"];
    home.run(&[&exact[..], &["--stop", "4", "--json"]].concat()).json();
    home.run(&[&exact[..], &["--stop", "5", "--json"]].concat())
        .fails(7, "3 of 4 required pieces available");
    home.run(&[&exact[..], &["--stop", "8"]].concat()).fails(7, "0 of 4 required pieces available");
    home.run(&[&exact[..], &["--stop", "9"]].concat()).fails(2, "the network has 8");
}

#[test]
fn invalid_files_and_networks_have_one_line_messages() {
    let home = Home::new();
    home.run(&["demo", "none"]).fails(3, "none");
    home.run(&["demo", "."]).fails(2, "is a directory");
    home.run(&["demo", "--nodes", "3"]).fails(2, "scheme 4/6/8/10-256 requires 8");
    home.run(&["demo", "--nodes", "300"]).fails(2, "storage nodes 300: must be 1 to 256");
    home.run(&["demo", "--scheme", "9/6/8/10-256"]).fails(2, "--scheme");
}
