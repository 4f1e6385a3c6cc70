//! Invalid input: a one-line message and the exit code of its family.

use std::net::TcpListener;
use std::time::{Duration, Instant, UNIX_EPOCH};

use uplink::Permission;
use uplink_testnet::Options;

use crate::access::known_grant;
use crate::home::{Home, names_below};
use crate::world::{World, bytes};

/// A node id that is not used by any node.
const OTHER_ID: &str = "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S";
const API_KEY: &str = "13YqdsDpS5T26sbKUPWkqeczTN1TEm28hBuCD5mCGEDsC9JNte3VUbj2iJRsWogorpfbm3cCx8gFfAWPtf3tJncy9YRjU3734VKPYoh";

#[test]
fn wrong_usage_is_a_one_line_message() {
    let home = Home::new();
    home.write("file", "x");
    home.run(&["access", "import", "main", &known_grant()]).ok();
    for (args, words) in [
        (&[][..], "missing command"),
        (&["fetch"], "'fetch'"),
        (&["mb"], "<URL>"),
        (&["mb", "bucket"], "sj://"),
        (&["mb", "sj://"], "missing bucket name"),
        (&["mb", "sj://bucket/key"], "expected a bucket"),
        (&["ls", "s3://bucket"], "does not begin with sj://"),
        (&["ls", "--recursive"], "needs a bucket"),
        (&["ls", "--timeout", "soon"], "invalid timeout"),
        (&["cat", "sj://bucket"], "expected an object"),
        (&["cat", "sj://b/k", "--range", "9-8"], "invalid range"),
        (&["rm", "sj://bucket"], "--recursive"),
        (&["cp", "file"], "<DST>"),
        (&["cp", "file", "other"], "source or target must be an object"),
        (&["cp", "-", "-"], "source or target must be an object"),
        (&["cp", "-", "sj://bucket/a/"], "needs a key"),
        (&["cp", "-r", "-", "sj://bucket"], "does not work with standard input"),
        (&["cp", ".", "sj://bucket"], "--recursive"),
        (&["cp", "sj://bucket/a/", "x"], "--recursive"),
        (&["cp", "file", "sj://b/k", "--expires", "yesterday"], "invalid expiry"),
        (&["cp", "file", "sj://b/k", "--expires", "2001-01-01T00:00:00Z"], "not in the future"),
        (&["cp", "file", "sj://b/k", "--metadata", "colour"], "NAME=VALUE"),
        (&["cp", "file", "sj://b/k", "--metadata", "a=1", "--metadata", "a=2"], "twice"),
        (&["cp", "sj://b/k", "x", "--metadata", "a=1"], "only for uploads"),
        (&["access", "import", "-x", "y"], "'-x'"),
        (&["access", "import", "no/path", "y"], "invalid access name \"no/path\""),
        (&["access", "import", &known_grant(), "x"], "invalid access name: "),
    ] {
        home.run(args).fails(2, words);
    }
    home.run(&["cp", "none", "sj://b/k"]).fails(3, "cannot read \"none\"");
}

#[test]
fn malformed_grants_are_rejected_without_quoting_them() {
    let home = Home::new();
    let grant = known_grant();
    let truncated = &grant[..grant.len() - 1];
    for bad in [truncated, &grant.replace('1', "0"), &"1".repeat(70_000)] {
        let run = home.run(&["ls", "--access", bad]);
        assert!(!run.stderr.contains(&bad[10..40]));
        run.fails(2, "invalid access grant format");
    }
    home.run_with(&["access", "import", "x"], b"").fails(2, "invalid access grant format");
    home.run(&["ls", "--access", "unknown"]).fails(3, "no access named \"unknown\"");
    home.run(&["access", "use", "unknown"]).fails(3, "no access named \"unknown\"");
    home.run(&["access", "remove", "unknown"]).fails(3, "no access named \"unknown\"");
    home.run(&["ls"]).fails(2, "no access grant");
}

#[test]
fn requests_need_a_passphrase_and_a_valid_api_key() {
    let home = Home::new();
    let address = format!("{OTHER_ID}@127.0.0.1:1");
    let request = |satellite: &str, key: &str, passphrase: &[u8]| {
        let args = ["access", "request", "--satellite", satellite, "--api-key", key];
        home.run_with(&[&args[..], &["--passphrase-stdin"]].concat(), passphrase)
    };
    request(&address, API_KEY, b"\r\n").fails(2, "passphrase is empty");
    request(&address, API_KEY, b"\xff").fails(1, "UTF-8");
    request(&address, "nonsense", b"secret").fails(2, "invalid API key format");
    request("127.0.0.1:1", API_KEY, b"secret").fails(2, "node id is required");
    request("x y", API_KEY, b"secret").fails(2, "satellite address");
    let without_port = format!("{OTHER_ID}@127.0.0.1");
    request(&without_port, API_KEY, b"secret").fails(2, "must be like ID@HOST:PORT");
    let args = ["access", "request", "--satellite", &address, "--api-key", API_KEY];
    home.run(&args).fails(2, "--passphrase-stdin");
}

#[test]
fn unreachable_satellite_is_a_network_failure() {
    let home = Home::new();
    // Port 1 is assigned to tcpmux, which is not in use.
    let address = format!("{OTHER_ID}@127.0.0.1:1");
    let args = ["access", "request", "--satellite", &address, "--api-key", API_KEY];
    let run = home.run_with(&[&args[..], &["--passphrase-stdin"]].concat(), b"secret");
    run.fails(6, "127.0.0.1:1");
}

#[test]
fn silent_satellite_is_named_while_waiting_and_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let home = Home::new();
    let satellite = format!("{OTHER_ID}@{address}");
    let args = ["access", "request", "--satellite", &satellite, "--api-key", API_KEY];
    for more in [&[][..], &["--quiet"]] {
        let args = [&args[..], &["--passphrase-stdin", "--timeout", "4s"], more].concat();
        let started = Instant::now();
        let mut run = home.run_with(&args, b"secret");
        let elapsed = started.elapsed();
        let note = format!("waiting for the satellite at {address}\n");
        assert_eq!(run.stderr.starts_with(&note), more.is_empty(), "{}", run.stderr);
        run.stderr = run.stderr.replace(&note, "");
        let text = format!("satellite {address} did not reply within 4.0 s");
        run.fails(6, &text);
        assert!(elapsed < Duration::from_secs(9), "{elapsed:?}");
    }
}

#[test]
fn different_node_id_is_a_network_failure() {
    let world = World::start();
    let url = world.network.satellite_url();
    let (_, address) = url.split_once('@').unwrap();
    let address = format!("{OTHER_ID}@{address}");
    let args = ["access", "request", "--satellite", &address, "--api-key", &world.api_key];
    let run = world.home.run_with(&[&args[..], &["--passphrase-stdin"]].concat(), b"secret");
    run.fails(6, OTHER_ID);
}

#[test]
fn wrong_passphrase_is_reported() {
    let world = World::start();
    world.put("sj://bucket/a/one", b"secret");
    world.put("sj://bucket/two", b"secret");
    world.request("wrong", "another passphrase");
    let home = &world.home;
    for args in [
        &["ls", "sj://bucket"][..],
        &["ls", "sj://bucket", "-r"],
        &["ls", "sj://bucket/a"],
        &["ls", "sj://bucket/a/"],
        &["ls", "sj://bucket/two"],
        &["stat", "sj://bucket/two"],
        &["cat", "sj://bucket/two"],
        &["cp", "sj://bucket/two", "x"],
        &["cp", "-r", "sj://bucket", "x"],
        &["cp", "-r", "sj://bucket/a", "x"],
        &["rm", "sj://bucket/two"],
        &["rm", "-r", "sj://bucket"],
        &["rm", "-r", "sj://bucket/a/"],
    ] {
        home.run(&[args, &["--access", "wrong"]].concat()).fails(5, "passphrase");
    }
    assert_eq!(names_below(&home.work()).len(), 0);
    let run = home.run(&["ls", "sj://bucket", "--json", "--access", "wrong"]);
    let lines = String::from_utf8(run.stdout.clone()).unwrap();
    assert_eq!(lines.matches("\"kind\":\"undecryptable\"").count(), 2);
    run.fails(5, "passphrase");
    // If some names can be decrypted, the others are counted.
    home.run_with(&["cp", "-", "sj://bucket/mine", "--access", "wrong"], b"x").ok();
    let run = home.run(&["ls", "sj://bucket", "--access", "wrong"]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.stderr, "2 names cannot be decrypted with this access grant\n");
    let run = home.run(&["ls", "sj://bucket"]);
    assert_eq!(run.stderr, "1 name cannot be decrypted with this access grant\n");
    let run = home.run(&["ls", "sj://bucket", "--quiet"]);
    assert_eq!(run.stderr, "1 name cannot be decrypted with this access grant\n");
    let undecryptable = ["sj://bucket: 1 name cannot be decrypted"];
    home.run(&["cp", "-r", "sj://bucket", "all"]).incomplete(&undecryptable);
    assert_eq!(names_below(&home.work().join("all")), ["a/one", "two"]);
}

#[test]
fn missing_buckets_and_objects_are_named() {
    let world = World::start();
    world.put("sj://bucket/there", b"x");
    let home = &world.home;
    home.write("file", bytes(10_000));
    for args in [
        &["ls", "sj://missing"][..],
        &["ls", "sj://missing/a"],
        &["stat", "sj://missing"],
        &["stat", "sj://missing/key"],
        &["cat", "sj://missing/key"],
        &["cp", "sj://missing/key", "x"],
        &["cp", "file", "sj://missing/key"],
        &["cp", "-r", "sj://missing", "x"],
        &["rm", "sj://missing/key"],
        &["rm", "-r", "sj://missing"],
        &["rb", "sj://missing"],
        &["rb", "sj://missing", "--force"],
    ] {
        home.run(args).fails(3, "missing");
    }
    for args in [
        &["stat", "sj://bucket/absent"][..],
        &["cat", "sj://bucket/absent"],
        &["cp", "sj://bucket/absent", "x"],
        &["cp", "sj://bucket/absent", "sj://bucket/x"],
        &["rm", "sj://bucket/absent"],
        &["ls", "sj://bucket/absent"],
        &["ls", "sj://bucket/absent/"],
    ] {
        home.run(args).fails(3, "absent");
    }
    assert_eq!(names_below(&home.work()), ["file"]);
}

#[test]
fn invalid_names_are_rejected() {
    let world = World::start();
    let home = &world.home;
    for bucket in ["ab", "UPPER", "under_score", "-hyphen", "192.168.0.1", &"a".repeat(64)] {
        home.run(&["mb", &format!("sj://{bucket}")]).fails(2, bucket);
    }
    home.write("file", "x");
    let long = format!("sj://bucket/{}", "k".repeat(5000));
    home.run(&["cp", "file", &long]).fails(2, "key");
}

#[test]
fn insufficient_and_expired_grants_are_denied() {
    let world = World::start();
    world.put("sj://bucket/in/there", b"x");
    let home = &world.home;
    home.write("file", bytes(10_000));
    world.share("reader", &Permission::read_only(), &[]);
    world.share("writer", &Permission::write_only(), &[]);
    world.share("prefix", &Permission::full(), &[("bucket", "in")]);
    let past = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let expired = Permission::full().not_after(past);
    world.share("expired", &expired, &[]);
    let future = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    world.share("early", &Permission::full().not_before(future), &[]);
    let early = "not valid before 2096-10-02T07:06:40Z";
    let expired = "expired at 2017-07-14T02:40:00Z";
    for (args, reason) in [
        (&["cp", "file", "sj://bucket/x", "--access", "reader"][..], "does not permit to write"),
        (&["rm", "sj://bucket/in/there", "--access", "reader"], "does not permit to delete"),
        (&["mb", "sj://other", "--access", "reader"], "does not permit to write"),
        (&["cat", "sj://bucket/in/there", "--access", "writer"], "does not permit to read"),
        (&["ls", "sj://bucket", "--access", "writer"], "does not permit to list"),
        (&["cat", "sj://bucket/out", "--access", "prefix"], "missing encryption base"),
        (&["ls", "sj://bucket", "--access", "prefix"], "missing encryption base"),
        (&["cp", "file", "sj://bucket/out", "--access", "prefix"], "missing encryption base"),
        (&["mb", "sj://other", "--access", "prefix"], "is limited to some buckets or prefixes"),
        (&["stat", "sj://elsewhere", "--access", "prefix"], "is for other buckets or prefixes"),
        (&["ls", "--access", "expired"], expired),
        (&["ls", "sj://bucket", "--access", "expired"], expired),
        (&["cat", "sj://bucket/in/there", "--access", "expired"], expired),
        (&["cp", "file", "sj://bucket/x", "--access", "expired"], expired),
        (&["ls", "sj://bucket", "--access", "early"], early),
    ] {
        home.run(args).fails(4, reason);
    }
    assert_eq!(home.run(&["cat", "sj://bucket/in/there", "--access", "reader"]).ok(), "x");
    assert_eq!(home.run(&["cat", "sj://bucket/in/there", "--access", "prefix"]).ok(), "x");
    assert!(home.run(&["ls", "sj://bucket/in", "--access", "prefix"]).ok().contains("in/there"));
    home.run(&["cp", "file", "sj://bucket/x", "--access", "writer"]).ok();
    home.run(&["rm", "sj://bucket/x", "--access", "writer"]).ok();
    // An API key that the satellite did not issue.
    home.run(&["rm", "sj://bucket/x"]).fails(3, "not found");
    let url = world.network.satellite_url();
    let args = ["access", "request", "--satellite", &url, "--api-key", API_KEY];
    let run = home.run_with(&[&args[..], &["--passphrase-stdin"]].concat(), b"secret");
    run.fails(4, "permission denied: the satellite does not know the API key, or has revoked it");
}

#[test]
fn too_few_nodes_are_reported_and_files_unchanged() {
    let world = World::start();
    let content = bytes(100_000);
    world.put("sj://bucket/o", &content);
    let home = &world.home;
    home.write("o", "old");
    home.write("file", &content);
    world.stop_nodes(3);
    // Three of ten nodes hold at most three pieces; four are required.
    home.run(&["cp", "sj://bucket/o", "o"]).fails(7, "4");
    assert_eq!(home.read("o"), b"old");
    assert_eq!(names_below(&home.work()), ["file", "o"]);
    home.run(&["cp", "file", "sj://bucket/new"]).fails(7, "nodes");
    home.run(&["stat", "sj://bucket/new"]).fails(3, "not found");
}

#[test]
fn full_nodes_count_as_too_few_nodes() {
    let world = World::start_with(Options::new().node_capacity(1));
    world.home.write("file", bytes(100_000));
    world.home.run(&["cp", "file", "sj://bucket/o"]).fails(7, "nodes");
    // Small objects are stored inline at the satellite.
    world.put("sj://bucket/small", b"x");
}

#[test]
fn stopped_satellite_is_a_network_failure() {
    let world = World::start();
    world.runtime.block_on(world.network.stop_satellite()).unwrap();
    let home = &world.home;
    home.write("file", bytes(100_000));
    for args in [
        &["ls"][..],
        &["ls", "sj://bucket"],
        &["mb", "sj://other"],
        &["cat", "sj://bucket/o"],
        &["cp", "file", "sj://bucket/o"],
        &["rm", "sj://bucket/o"],
        &["stat", "sj://bucket"],
    ] {
        home.run(args).fails(6, "127.0.0.1");
    }
}
