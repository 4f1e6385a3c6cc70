//! `--include` and `--exclude`.

use crate::access::known_grant;
use crate::home::{Home, names_below};
use crate::several::keys;
use crate::world::World;

#[test]
fn only_selected_objects_are_copied_moved_and_removed() {
    let world = World::start();
    let home = &world.home;
    for name in ["d/a.jpg", "d/b.txt", "d/e/c.jpg", "d/e/f/g.jpg", "d/e/f/h.txt", "i.jpg", "j.txt"]
    {
        home.write(name, name);
    }
    home.run(&["cp", "-r", "d", "sj://bucket/up", "--include", "**/*.jpg"]).ok();
    assert_eq!(keys(home, "sj://bucket"), ["up/a.jpg", "up/e/c.jpg", "up/e/f/g.jpg"]);
    home.run(&["cp", "-r", "d", "sj://bucket/up", "--exclude", "**", "--include", "e/*"]).ok();
    home.run(&["cp", "-r", "d", "sj://bucket/up", "--exclude", "**/*.jpg"]).ok();
    assert_eq!(keys(home, "sj://bucket").len(), 5);
    home.run(&["cp", "-r", "sj://bucket/up", "down", "--exclude", "e/f/**"]).ok();
    assert_eq!(names_below(&home.work().join("down")), ["a.jpg", "b.txt", "e/c.jpg"]);
    home.run(&["mv", "-r", "sj://bucket/up", "sj://bucket/m", "--include", "*.jpg"]).ok();
    home.run(&["rm", "-r", "sj://bucket/up", "--include", "e/**", "--exclude", "e/f/*"]).ok();
    assert_eq!(keys(home, "sj://bucket"), ["m/a.jpg", "up/b.txt", "up/e/f/g.jpg", "up/e/f/h.txt"]);
    // Files beside directories are matched by their name. Nothing selected is no failure.
    home.run(&["rm", "-r", "sj://bucket", "--include", "none"]).ok();
    home.run(&["rm", "-r", "sj://bucket"]).ok();
    home.run(&["cp", "-r", "i.jpg", "j.txt", "d", "sj://bucket", "--include", "*.jpg"]).ok();
    assert_eq!(keys(home, "sj://bucket"), ["d/a.jpg", "i.jpg"]);
}

#[test]
#[cfg(unix)]
fn entries_that_are_left_out_are_not_failures() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start();
    let home = &world.home;
    for name in ["d/a", "d/closed/b"] {
        home.write(name, name);
    }
    std::os::unix::fs::symlink("a", home.work().join("d/link")).unwrap();
    home.unprivileged();
    let closed = home.work().join("d/closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let copy = ["cp", "-r", "d", "sj://bucket", "--exclude", "link"];
    home.run(&copy).incomplete(&["sj://bucket/closed: cannot read"]);
    home.run(&[&copy[..], &["--exclude", "closed/**"]].concat()).ok();
    // It might contain what is included.
    home.run(&["cp", "-r", "d", "sj://bucket", "--include", "a"])
        .incomplete(&["sj://bucket/closed: cannot read"]);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(keys(home, "sj://bucket"), ["a"]);
}

#[test]
fn names_with_special_characters_are_matched() {
    let world = World::start();
    let home = &world.home;
    for key in ["a*b", "axb", "[x]", "two\nlines"] {
        world.put(&format!("sj://bucket/k/{key}"), b"x");
    }
    let remove = |glob| home.run(&["rm", "-r", "sj://bucket/k", "--include", glob]).ok();
    remove("a\\*b");
    assert_eq!(keys(home, "sj://bucket"), ["k/[x]", "k/axb", "k/two\nlines"]);
    remove("[[]x]");
    remove("two*");
    assert_eq!(keys(home, "sj://bucket"), ["k/axb"]);
}

#[test]
fn invalid_patterns_are_wrong_usage() {
    let home = Home::new();
    // A grant for an unreachable satellite: a request would be a network failure.
    home.run(&["access", "import", "main", &known_grant()]).ok();
    home.write("d/a", "x");
    for command in [&["cp", "-r", "d", "sj://b"][..], &["mv", "-r", "sj://b", "sj://c"]] {
        home.run(&[command, &["--include", "a["]].concat()).fails(2, "invalid pattern \"a[\"");
    }
    home.run(&["rm", "-r", "sj://b", "--exclude", ""]).fails(2, "it is empty");
    home.run(&["rm", "-r", "sj://b", "--exclude", "{a"]).fails(2, "invalid pattern \"{a\"");
    home.run(&["cp", "d/a", "sj://b/a", "--include", "*"]).fails(2, "--recursive");
}
