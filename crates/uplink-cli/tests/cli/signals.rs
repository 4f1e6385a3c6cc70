//! Ctrl-C in the middle of things.
#![cfg(unix)]

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Finished, names_below};
use crate::world::{World, bytes};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn an_interrupted_upload_leaves_nothing_visible() {
    let world = World::start();
    for (signal_sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = world
            .home
            .command(&["cp", "-", "sj://bucket/o"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // More than a pipe holds: when it is written the upload is under way.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes(2 << 20)).unwrap();
        signal(&child, signal_sent);
        // Standard input stays open: nothing but the signal ends it.
        let finished = Finished::wait(child);
        drop(stdin);
        finished.fails(code, "interrupted");
        world.home.run(&["stat", "sj://bucket/o"]).fails(3, "not found");
    }
}

#[test]
fn an_interrupted_download_leaves_the_old_file() {
    let world = World::start();
    world.put("sj://bucket/o", &bytes(20 << 20));
    world.home.write("o", "old");
    let fifo = world.home.work().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // Two downloads: one into a pipe that nobody empties, which shows that it is under way.
    let child = world.home.command(&["cp", "sj://bucket/o", "fifo"]).spawn().unwrap();
    let mut reader = std::fs::File::open(&fifo).unwrap();
    reader.read_exact(&mut [0; 1]).unwrap();
    signal(&child, Signal::INT);
    Finished::wait(child).fails(130, "interrupted");
    drop(reader);
    std::fs::remove_file(&fifo).unwrap();
    assert_eq!(world.home.read("o"), b"old");
    assert_eq!(names_below(&world.home.work()), ["o"]);
}
