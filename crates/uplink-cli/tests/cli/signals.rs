//! Signals during transfers.
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
fn interrupted_upload_leaves_nothing_visible() {
    let world = World::start();
    for (sent_signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = world
            .home
            .command(&["cp", "-", "sj://bucket/o"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // More than a pipe holds: once written, the upload has started.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes(2 << 20)).unwrap();
        signal(&child, sent_signal);
        // Standard input stays open: only the signal ends the upload.
        let finished = Finished::wait(child);
        drop(stdin);
        finished.fails(code, "interrupted");
        world.home.run(&["stat", "sj://bucket/o"]).fails(3, "not found");
    }
}

#[test]
fn interrupted_download_keeps_the_old_file() {
    let world = World::start();
    world.put("sj://bucket/o", &bytes(20 << 20));
    world.home.write("o", "old");
    let fifo = world.home.work().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // A download to a pipe with a slow reader is in progress after the first byte.
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
