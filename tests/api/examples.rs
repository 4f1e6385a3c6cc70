//! The programs in `examples/` run unmodified.

use std::process::Command;

use super::world::World;

/// Runs an example with the grant of a new world, and returns what it prints.
async fn run(name: &'static str) -> String {
    let world = World::start().await;
    let access = world.access.serialize().expect("a grant");
    // Cargo builds the examples before the tests, next to this program's folder.
    let folder = std::env::current_exe().expect("this program");
    let folder = folder.ancestors().nth(2).expect("the build folder").join("examples");
    let run = tokio::task::spawn_blocking(move || {
        Command::new(folder.join(name)).env("UPLINK_ACCESS", access).output()
    });
    let output = run.await.expect("waits").expect("the example is built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quickstart_uploads_and_reads_back() {
    assert_eq!(run("quickstart").await, "17 bytes\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn share_lets_a_guest_read_and_not_write() {
    let printed = run("share").await;
    assert!(printed.starts_with("read 5 bytes\npermission denied"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multitenant_keeps_tenants_apart() {
    let expected = "anna reads 10 bytes\nben: cannot read it\nthe application: cannot read it\n";
    assert_eq!(run("multitenant").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multipart_uploads_two_parts() {
    assert_eq!(run("multipart").await, "5243880 bytes in two parts\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_move_keeps_the_object() {
    let expected = "copied 5 bytes with {\"title\": \"A cat\"}\nmoved to archive/cat.jpg\n";
    assert_eq!(run("copy_move").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_reaches_all_bytes_in_both_directions() {
    let printed = run("progress").await;
    let lines: Vec<&str> = printed.lines().collect();
    let [up, down] = lines[..] else { panic!("{printed}") };
    assert!(up.ends_with("\ruploaded 100 %"), "{up}");
    assert!(down.ends_with("\rdownloaded 100 %"), "{down}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_stores_and_lists_without_a_runtime() {
    assert_eq!(run("blocking").await, "a cat, 17 bytes in all\n");
}

/// A guide shows code of its example.
#[test]
fn guides_show_their_examples() {
    let guides = [
        (
            include_str!("../../docs/guides/multitenancy.md"),
            include_str!("../../examples/multitenant.rs"),
        ),
        (include_str!("../../docs/guides/sharing.md"), include_str!("../../examples/share.rs")),
    ];
    let without_indent =
        |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    for (guide, example) in guides {
        let example = without_indent(example);
        let blocks = guide.split("```rust\n").skip(1);
        let blocks: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
        assert_eq!(blocks.len(), 2);
        for block in blocks {
            assert!(example.contains(without_indent(block).trim_end()), "{block}");
        }
    }
}
