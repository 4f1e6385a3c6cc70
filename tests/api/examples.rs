//! The programs in `examples/` run unmodified.

use std::process::Command;

use super::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quickstart_uploads_and_reads_back() {
    let world = World::start().await;
    let access = world.access.serialize().expect("a grant");
    // Cargo builds the examples before the tests, next to this program's folder.
    let folder = std::env::current_exe().expect("this program");
    let folder = folder.ancestors().nth(2).expect("the build folder").join("examples");
    let run = tokio::task::spawn_blocking(move || {
        Command::new(folder.join("quickstart")).env("UPLINK_ACCESS", access).output()
    });
    let output = run.await.expect("waits").expect("the example is built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "17 bytes\n", "{errors}");
}
