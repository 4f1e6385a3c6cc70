//! Whole directories up and down, and keys that would lead elsewhere.

use crate::home::names_below;
use crate::world::{World, bytes};

#[test]
fn directories_go_up_across_and_come_back() {
    let world = World::start();
    let home = &world.home;
    let files = [("d/a", 10), ("d/e/b c", 5000), ("d/e/f/é", 0), ("d/z", 200_000)];
    for (name, size) in files {
        home.write(name, bytes(size));
    }
    home.run(&["cp", "-r", "d", "sj://bucket/p"]).ok();
    home.run(&["cp", "-r", "sj://bucket/p", "sj://bucket/q/r"]).ok();
    home.run(&["cp", "-r", "sj://bucket/q", "back"]).ok();
    for (name, size) in files {
        let name = name.replacen("d/", "back/r/", 1);
        assert!(home.read(&name) == bytes(size), "{name}");
    }
    assert_eq!(names_below(&home.work().join("back")).len(), files.len());
    home.run(&["cp", "-r", "sj://bucket/none", "x"]).fails(3, "nothing is found");
    home.run(&["cp", "-r", "none", "sj://bucket"]).fails(3, "cannot read");
    home.run(&["cp", "-r", "sj://bucket/q", "sj://bucket/q/q"]).fails(2, "lies within");
}

#[test]
fn keys_that_lead_elsewhere_are_left_out_and_reported() {
    let world = World::start();
    let home = &world.home;
    for key in ["good", "x/../../evil", "/absolute", "a//b", "x/."] {
        world.put(&format!("sj://bucket/in/{key}"), key.as_bytes());
    }
    home.run(&["cp", "-r", "sj://bucket/in", "deep/target"])
        .fails(1, "and 3 others were not written");
    assert_eq!(names_below(&home.work()), ["deep/target/good"]);
    // One object asked for by its key is written where the user says.
    home.run(&["cp", "sj://bucket/in/x/../../evil", "mine"]).ok();
    assert_eq!(home.read("mine"), b"x/../../evil");
    home.run(&["cp", "sj://bucket/in/x/.", "deep/"]).fails(2, "leads elsewhere");
}

#[test]
#[cfg(unix)]
fn links_below_the_target_are_not_followed() {
    let world = World::start();
    let home = &world.home;
    world.put("sj://bucket/link/file", b"content");
    std::fs::create_dir(home.work().join("outside")).unwrap();
    std::fs::create_dir(home.work().join("target")).unwrap();
    std::os::unix::fs::symlink("../outside", home.work().join("target/link")).unwrap();
    home.run(&["cp", "-r", "sj://bucket", "target"]).fails(8, "cannot make the directory");
    assert_eq!(names_below(&home.work().join("outside")).len(), 0);
}
