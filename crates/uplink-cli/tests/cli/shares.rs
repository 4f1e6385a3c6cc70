//! `uplink share`, `uplink access revoke`: narrower access grants, as their holders experience them.

use serde_json::Value;

use crate::access::known_grant;
use crate::home::Home;
use crate::world::World;

#[test]
fn shared_prefix_can_be_read_and_nothing_else() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/trips/cat", b"a cat");
    world.put("sj://bucket/private", b"secret");
    let grant = home.run(&["share", "sj://bucket/trips/", "--not-after", "1h"]).ok();
    let guest = |args: &[&str]| home.run(&[args, &["--access", grant.trim()]].concat());
    assert_eq!(guest(&["cat", "sj://bucket/trips/cat"]).ok(), "a cat");
    assert!(guest(&["ls", "sj://bucket/trips/"]).ok().contains("cat"));
    guest(&["cat", "sj://bucket/private"]).fails(4, "no key for this bucket and path");
    guest(&["rm", "sj://bucket/trips/cat"]).fails(4, "permission denied");
    home.write("file", "x");
    guest(&["cp", "file", "sj://bucket/trips/dog"]).fails(4, "permission denied");
}

#[test]
fn each_preset_permits_its_operations() {
    let home = Home::new();
    home.run(&["access", "import", "main", &known_grant()]).ok();
    for (preset, expected) in [
        (None, "download, list"),
        (Some("--readonly"), "download, list"),
        (Some("--writeonly"), "upload, delete"),
        (Some("--list-only"), "list"),
        (Some("--upload-only"), "upload"),
    ] {
        let args =
            [&["share", "sj://bucket", "--name", "shared", "--force"][..], preset.as_slice()];
        home.run(&args.concat()).ok();
        let shown = home.run(&["access", "inspect", "shared"]).ok();
        let allows = shown.lines().find(|line| line.starts_with("Allows")).unwrap();
        assert!(allows.ends_with(&format!("  {expected}")), "{preset:?}: {shown}");
        assert!(shown.contains("sj://bucket\n"), "{shown}");
    }
    home.run(&["share", "sj://bucket", "--full", "--name", "shared", "--force"]).ok();
    let shown = home.run(&["access", "inspect", "shared"]).ok();
    assert!(shown.contains("set retention"), "{shown}");
}

#[test]
fn times_and_lifetime_of_a_share_are_part_of_its_grant() {
    let home = Home::new();
    home.run(&["access", "import", "main", &known_grant()]).ok();
    let times = ["--not-before", "2030-01-01T00:00:00Z", "--not-after", "9998-01-01T00:00:00Z"];
    let args = [&["share", "sj://bucket", "--max-object-ttl", "7d", "--json"][..], &times].concat();
    let access = home.run(&args).json()[0]["access"].as_str().unwrap().to_owned();
    let shown: Value = home.run(&["access", "inspect", &access, "--json"]).json().remove(0);
    let caveat = shown["macaroon"]["caveats"].as_array().unwrap().last().unwrap();
    assert_eq!(caveat["not_before"], "2030-01-01T00:00:00Z");
    assert_eq!(caveat["not_after"], "9998-01-01T00:00:00Z");
    assert!(home.run(&["access", "inspect", &access]).ok().contains("expire after at most 7 days"));
}

#[test]
fn invalid_shares_are_wrong_usage() {
    let home = Home::new();
    home.run(&["access", "import", "main", &known_grant()]).ok();
    home.run(&["share", "sj://b", "--name", "shared"]).ok();
    for (args, code, words) in [
        (&["share"][..], 2, "<URL>"),
        (&["share", "bucket"], 2, "sj://"),
        (&["share", "sj://b", "--readonly", "--full"], 2, "cannot be used with"),
        (&["share", "sj://b", "--not-after", "2001-01-01T00:00:00Z"], 2, "not in the future"),
        (&["share", "sj://b", "--not-before", "soon"], 2, "invalid --not-before \"soon\""),
        (&["share", "sj://b", "--max-object-ttl", "0s"], 2, "invalid --max-object-ttl"),
        (&["share", "sj://b", "--not-before", "2h", "--not-after", "1h"], 2, "invalid time range"),
        (&["share", "sj://b", "--name", "shared"], 8, "--force"),
        (&["share", "sj://b", "--name", "main", "--force"], 2, "would replace the one"),
        (&["access", "revoke", "main"], 2, "cannot revoke itself"),
        (&["access", "revoke", ""], 2, "is empty"),
    ] {
        home.run(args).fails(code, words);
    }
}

#[test]
fn revoked_grant_is_rejected_and_its_parent_works() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/key", b"x");
    home.run(&["share", "sj://bucket", "--name", "guest"]).ok();
    home.run(&["share", "sj://bucket", "--name", "friend", "--access", "guest"]).ok();
    assert_eq!(home.run(&["cat", "sj://bucket/key", "--access", "friend"]).ok(), "x");
    home.run(&["access", "revoke", "main", "--access", "guest"]).fails(4, "permission denied");
    home.run(&["access", "revoke", "guest"]).ok();
    for name in ["guest", "friend"] {
        home.run(&["cat", "sj://bucket/key", "--access", name]).fails(4, "permission denied");
    }
    assert_eq!(home.run(&["cat", "sj://bucket/key"]).ok(), "x");
}
