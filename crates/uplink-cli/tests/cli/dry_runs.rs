//! `--dry-run`: reports what would be done, and does nothing.

use uplink::Permission;

use crate::home::names_below;
use crate::several::keys;
use crate::world::World;

#[test]
fn dry_run_reports_and_changes_nothing() {
    let world = World::start();
    let home = &world.home;
    home.write("d/a", "one");
    home.write("d/e/b", "three");
    world.put("sj://bucket/p/c", b"four");
    world.put("sj://bucket/x", b"five!");
    let before = keys(home, "sj://bucket");
    for (args, line, count) in [
        (&["cp", "d/a", "sj://bucket"][..], "Would copy d/a to sj://bucket/a\n", 1),
        (&["cp", "-", "sj://bucket/y"], "Would copy - to sj://bucket/y\n", 1),
        (&["cp", "sj://bucket/x", "new"], "Would copy sj://bucket/x to new\n", 1),
        (&["cp", "sj://bucket/x", "sj://bucket/p/"], "sj://bucket/x to sj://bucket/p/x\n", 1),
        (&["cp", "-r", "d", "sj://bucket"], "Would copy d/e/b to sj://bucket/e/b\n", 2),
        (&["cp", "-r", "sj://bucket", "new/er"], "Would copy sj://bucket/p/c to new/er/p/c\n", 2),
        (&["cp", "-r", "sj://bucket/p", "sj://bucket/q"], "to sj://bucket/q/c\n", 1),
        (&["mv", "sj://bucket/x", "sj://bucket/z"], "Would move sj://bucket/x to", 1),
        (&["mv", "-r", "sj://bucket/p", "sj://bucket/q"], "Would move sj://bucket/p/c to", 1),
        (&["rm", "sj://bucket/x"], "Would remove sj://bucket/x\n", 1),
        (&["rm", "sj://bucket/x", "sj://bucket/p/c"], "Would remove sj://bucket/p/c\n", 2),
        (&["rm", "-r", "sj://bucket", "--exclude", "x"], "Would remove sj://bucket/p/c\n", 1),
    ] {
        let args = [args, &["--dry-run"]].concat();
        let text = home.run(&args).ok();
        assert!(text.contains(line) && text.lines().count() == count, "{args:?}: {text}");
        let objects = home.run(&[&args[..], &["--json"]].concat()).json();
        assert_eq!(objects.len(), count, "{args:?}");
        assert!(objects.iter().all(|object| object["dry_run"] == true), "{objects:?}");
    }
    assert_eq!(keys(home, "sj://bucket"), before);
    assert_eq!(names_below(&home.work()), ["d/a", "d/e/b"]);
    assert!(!home.work().join("new").exists());
    let run = home.run(&["cp", "-r", "d", "sj://bucket", "--dry-run", "--json"]);
    let summary = run.json_summary();
    assert_eq!((&summary["objects"], &summary["bytes"]), (&2.into(), &8.into()));
    assert_eq!(summary["dry_run"], true);
    let objects = run.json();
    let size = |source: &str| objects.iter().find(|object| object["source"] == source).unwrap();
    assert_eq!((&size("d/a")["size"], &size("d/e/b")["size"]), (&3.into(), &5.into()));
    // An object on standard output is read by another program: JSON would mix with it.
    assert_eq!(home.run(&["cp", "sj://bucket/x", "-", "--dry-run", "--json"]).ok(), "");
}

#[test]
fn dry_run_fails_where_the_command_would() {
    let world = World::start();
    let home = &world.home;
    for name in ["d/a", "t/dir/file", "t/file"] {
        home.write(name, "x");
    }
    for key in ["a", "p/dir", "p/file/below", "p/../up", "p/good"] {
        world.put(&format!("sj://bucket/{key}"), b"x");
    }
    for (args, code, words) in [
        (&["cp", "d", "sj://bucket"][..], 2, "--recursive"),
        (&["cp", "none", "sj://bucket"], 3, "cannot read \"none\""),
        (&["cp", "d/a", "sj://missing"], 3, "bucket \"missing\" not found"),
        (&["cp", "-r", "d", "sj://missing"], 3, "bucket \"missing\" not found"),
        (&["cp", "sj://bucket/none", "x"], 3, "not found"),
        (&["cp", "sj://bucket/a", "no/directory/x"], 3, "cannot write"),
        (&["cp", "sj://bucket/a", "sj://missing/a"], 3, "bucket \"missing\" not found"),
        (&["mv", "sj://bucket/none", "sj://bucket/x"], 3, "not found"),
        (&["mv", "-r", "sj://bucket/p", "sj://missing"], 3, "bucket \"missing\" not found"),
        (&["rm", "sj://bucket/none"], 3, "not found"),
        (&["rm", "-r", "sj://bucket/none"], 3, "nothing found"),
    ] {
        home.run(&[args, &["--dry-run"]].concat()).fails(code, words);
    }
    let run = home.run(&["cp", "-r", "sj://bucket/p", "t", "--dry-run"]);
    assert_eq!(String::from_utf8_lossy(&run.stdout), "Would copy sj://bucket/p/good to t/good\n");
    run.incomplete(&[
        "sj://bucket/p/dir: cannot write \"t/dir\": it is a directory",
        "sj://bucket/p/file/below: cannot create directory \"t/file\": a file is in the way",
        "sj://bucket/p/../up: cannot write below",
    ]);
    assert_eq!(names_below(&home.work()), ["d/a", "t/dir/file", "t/file"]);
    // A grant without the permission to read can remove what it cannot query.
    world.share("writer", &Permission::write_only(), &[]);
    home.run(&["rm", "sj://bucket/a", "--dry-run", "--access", "writer"]).ok();
    assert_eq!(home.run(&["cat", "sj://bucket/a"]).ok(), "x");
}
