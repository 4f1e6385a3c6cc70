//! `uplink access` without a network: stored accesses, and inspection of grants.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::home::Home;

fn vectors() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/access.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

pub(crate) fn known_grant() -> String {
    vectors()["access_inspect"]["cases"][0]["grant"].as_str().unwrap().to_owned()
}

#[test]
fn accesses_are_stored_listed_selected_and_removed() {
    let home = Home::new();
    let grant = known_grant();
    assert_eq!(home.run(&["access", "list"]).stdout, b"");
    assert!(home.run(&["access", "import", "one", &grant]).ok().contains("made it current"));
    let text = format!("  {grant}\n");
    assert!(!home.run_with(&["access", "import", "two"], text.as_bytes()).ok().contains("current"));
    home.run_with(&["access", "import", "three", "-"], text.as_bytes()).ok();
    home.run(&["access", "use", "two"]).ok();
    let list = home.run(&["access", "list", "--json"]).json();
    let names: Vec<_> = list.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "three", "two"]);
    assert_eq!(list[2]["current"], true);
    assert_eq!(list[0]["current"], false);
    assert!(list[0]["satellite"].as_str().unwrap().ends_with("@storjsim:10000"));
    assert!(home.run(&["access", "list"]).ok().contains("\n* two"));
    home.run(&["access", "remove", "two"]).ok();
    assert!(!home.run(&["access", "list"]).ok().contains('*'));
    home.run(&["access", "inspect"]).fails(2, "no access grant");
}

#[test]
fn grant_is_imported_from_what_people_paste() {
    let home = Home::new();
    let grant = known_grant();
    for text in
        [format!("\u{feff}{grant}\r\n"), format!("\"{grant}\""), format!("Access grant: {grant}\n")]
    {
        home.run_with(&["access", "import", "pasted", "--force"], text.as_bytes()).ok();
        assert!(home.run(&["access", "inspect", "pasted"]).ok().contains("@storjsim:10000"));
    }
}

#[test]
fn what_is_not_a_grant_is_named_as_what_it_is() {
    let home = Home::new();
    let grant = known_grant();
    home.write("grant.txt", &grant);
    let shown = home.run(&["access", "inspect", &grant, "--show-secrets", "--json"]).json();
    let api_key = shown[0]["api_key"].as_str().unwrap();
    for args in [
        &["access", "import", "x", api_key][..],
        &["ls", "--access", api_key],
        &["access", "inspect", api_key],
    ] {
        home.run(args).fails(2, "this is an API key, not an access grant");
    }
    home.run(&["access", "import", "x", "grant.txt"])
        .fails(2, "\"grant.txt\" is a file, not an access grant");
    home.run(&["ls", "--access", "grant.txt"]).fails(3, "`uplink access import NAME < FILE`");
    for args in [
        &["access", "use", &grant][..],
        &["access", "remove", &grant],
        &["access", "list", &grant],
        &["share", &grant],
        &["mv", &grant, "sj://b/k"],
    ] {
        let run = home.run(args);
        assert!(!run.stderr.contains(&grant), "{}", run.stderr);
        assert!(matches!(run.code, Some(2 | 3)), "{run:?}");
    }
    let args = ["access", "request", "--satellite", "x@127.0.0.1:1", "--api-key", &grant];
    home.run_with(&[&args[..], &["--passphrase-stdin"]].concat(), b"secret")
        .fails(2, "this is an access grant, not an API key");
}

#[test]
fn grant_of_its_own_needs_no_home() {
    let home = Home::new();
    let run = |args: &[&str]| {
        let mut command = home.command(args);
        command.env_remove("HOME").env_remove("XDG_CONFIG_HOME");
        crate::home::Finished::wait(command.spawn().unwrap())
    };
    let grant = known_grant();
    assert!(run(&["access", "inspect", &grant]).ok().contains("@storjsim:10000"));
    run(&["share", "sj://bucket", "--access", &grant]).ok();
    run(&["access", "list"]).fails(1, "neither XDG_CONFIG_HOME nor HOME is set");
    run(&["ls"]).fails(1, "neither XDG_CONFIG_HOME nor HOME is set");
}

#[test]
fn taken_name_is_replaced_only_with_force() {
    let home = Home::new();
    let grant = known_grant();
    home.run(&["access", "import", "one", &grant]).ok();
    home.run(&["access", "import", "one", &grant]).fails(8, "--force");
    home.run(&["access", "import", "one", &grant, "--force"]).ok();
}

#[test]
#[cfg(unix)]
fn stored_accesses_are_private_and_replaced_atomically() {
    let home = Home::new();
    home.run(&["access", "import", "one", &known_grant()]).ok();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.store()), 0o600);
    assert_eq!(mode(home.store().parent().unwrap()), 0o700);
    fs::set_permissions(home.store(), fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["access", "use", "one"]).ok();
    assert_eq!(mode(&home.store()), 0o600);
    let left = crate::home::names_below(home.store().parent().unwrap());
    assert_eq!(left, ["access.json", "access.lock"]);
}

#[test]
#[cfg(unix)]
fn symlinked_store_stays_a_symlink() {
    let home = Home::new();
    home.run(&["access", "import", "one", &known_grant()]).ok();
    let real = home.work().join("settings.json");
    fs::rename(home.store(), &real).unwrap();
    std::os::unix::fs::symlink(&real, home.store()).unwrap();
    home.run(&["access", "import", "two", &known_grant()]).ok();
    assert!(home.store().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("\"two\""));
    assert_eq!(home.run(&["access", "list", "--json"]).json().len(), 2);
}

#[test]
fn concurrent_imports_keep_all_accesses() {
    let home = Home::new();
    let grant = known_grant();
    let names: Vec<_> = (0..8).map(|number| format!("access-{number}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| home.command(&["access", "import", name, &grant]).spawn().unwrap())
        .collect();
    for child in children {
        crate::home::Finished::wait(child).ok();
    }
    assert_eq!(home.run(&["access", "list", "--json"]).json().len(), names.len());
}

#[test]
fn corrupt_file_is_named_and_not_overwritten() {
    let home = Home::new();
    home.run(&["access", "import", "one", &known_grant()]).ok();
    for corrupt in ["{\"current\":", "", "{\"accesses\":{},\"newer\":1}", "\u{0}\u{1}"] {
        fs::write(home.store(), corrupt).unwrap();
        home.run(&["access", "list"]).fails(1, "access.json is corrupt");
        home.run(&["access", "import", "two", &known_grant()]).fails(1, "access.json is corrupt");
        assert_eq!(fs::read_to_string(home.store()).unwrap(), corrupt);
    }
}

#[test]
fn inspect_with_secrets_matches_the_public_command() {
    let vectors = vectors();
    let cases = vectors["access_inspect"]["cases"].as_array().unwrap();
    let home = Home::new();
    let mut run = 0;
    for case in cases {
        let grant = case["grant"].as_str().unwrap();
        let shown = home.run(&["access", "inspect", grant, "--show-secrets", "--json"]).json();
        assert_eq!(shown, [case["json"].clone()]);
        run += 1;
    }
    assert_eq!((run, cases.len()), (2, 2));
}

#[test]
fn inspect_hides_secrets_by_default() {
    let vectors = vectors();
    let home = Home::new();
    let mut run = 0;
    for case in vectors["access_grants"]["cases"].as_array().unwrap() {
        let grant = case["grant"].as_str().unwrap();
        let json = &home.run(&["access", "inspect", grant, "--json"]).json()[0];
        let text = home.run(&["access", "inspect", grant]).ok();
        let secret = &home.run(&["access", "inspect", grant, "--json", "--show-secrets"]).json()[0];
        assert_eq!(json["satellite_addr"], case["satellite_addr"]);
        assert_eq!(secret["api_key"], case["api_key"]);
        let caveats = case["caveats_hex"].as_array().unwrap().len();
        assert_eq!(json["macaroon"]["caveats"].as_array().unwrap().len(), caveats);
        let entries = case["store"]["entries"].as_array().unwrap();
        let shown = json["encryption_access"]["store_entries"].as_array();
        assert_eq!(shown.map_or(0, Vec::len), entries.len());
        let access = &secret["encryption_access"];
        let keys = [&secret["api_key"], &secret["macaroon"]["tail"], &access["default_key"]];
        let entry_keys = access["store_entries"].as_array().into_iter().flatten();
        let entry_keys = entry_keys.map(|entry| &entry["key"]);
        let mut found = 0;
        for key in keys.into_iter().chain(entry_keys).filter_map(Value::as_str) {
            assert!(!json.to_string().contains(key) && !text.contains(key));
            found += 1;
        }
        assert_eq!(json["hidden"].as_array().unwrap().len(), found);
        run += 1;
    }
    assert_eq!(run, 12);
}

#[test]
fn shared_prefix_is_shown_decrypted() {
    let vectors = vectors();
    let grant = vectors["access_grants"]["cases"][2]["grant"].as_str().unwrap();
    let home = Home::new();
    home.run(&["access", "import", "site", grant]).ok();
    let shown = home.run(&["access", "inspect", "site"]).ok();
    assert!(shown.contains("sj://oliosite/staging\n"), "{shown}");
    let allows = shown.lines().find(|line| line.starts_with("Allows")).unwrap();
    assert!(allows.contains("download, list"), "{shown}");
    assert!(!allows.contains("upload") && !allows.contains("delete"), "{shown}");
}

#[test]
fn environment_selects_an_access_and_help_hides_it() {
    let home = Home::new();
    let grant = vectors()["access_inspect"]["cases"][1]["grant"].as_str().unwrap().to_owned();
    home.run(&["access", "import", "one", &grant]).ok();
    let run = |args: &[&str], access: &str| {
        let child = home.command(args).env("UPLINK_ACCESS", access).spawn().unwrap();
        crate::home::Finished::wait(child)
    };
    run(&["ls"], "unknown").fails(3, "no access named \"unknown\"");
    run(&["ls"], &grant[1..]).fails(2, "invalid access grant format");
    // An empty variable counts as unset: the stored access is used, whose satellite does not run.
    run(&["ls"], "").fails(6, "127.0.0.1:10000");
    for args in
        [&["ls", "--help"][..], &["--help"], &["cp", "-h"], &["access", "request", "--help"]]
    {
        assert!(!run(args, &grant).ok().contains(&grant));
    }
}
