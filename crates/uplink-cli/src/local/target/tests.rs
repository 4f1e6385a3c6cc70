use super::*;

async fn write(path: &Path, follow_links: bool, content: &str) -> Outcome {
    let mut target = Target::create(path, follow_links).await?;
    for byte in content.as_bytes() {
        target.write(&[*byte]).await?;
    }
    target.finish().await
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn file_becomes_visible_when_finished() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    fs::write(&path, "old").unwrap();
    let mut target = Target::create(&path, true).await.unwrap();
    target.write(b"new").await.unwrap();
    assert!(!target.is_partly_written());
    drop(target);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(root.path()), ["file"]);
    let mut target = Target::create(&path, true).await.unwrap();
    target.write(b"new").await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    target.finish().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(root.path()), ["file"]);
}

#[tokio::test]
async fn overlong_name_fails_before_the_download() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("n".repeat(256));
    Target::create(&path, false).await.unwrap_err();
    assert_eq!(names(root.path()), [""; 0]);
}

#[cfg(unix)]
mod unix {
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn devices_are_written_and_links_kept() {
        let target = Target::create(Path::new("/dev/null"), true).await.unwrap();
        assert!(matches!(target.mode, Mode::Stream));
        write(Path::new("/dev/null"), true, "gone").await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        let link = root.path().join("link");
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        write(&link, true, "new").await.unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        fs::remove_file(&file).unwrap();
        write(&link, true, "again").await.unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"again");
    }

    #[tokio::test]
    async fn hard_linked_file_keeps_all_its_names() {
        let root = tempfile::tempdir().unwrap();
        let one = root.path().join("one");
        let other = root.path().join("other");
        fs::write(&one, "old and long").unwrap();
        fs::hard_link(&one, &other).unwrap();
        let mut target = Target::create(&one, true).await.unwrap();
        target.write(b"part").await.unwrap();
        drop(target);
        assert_eq!(fs::read(&other).unwrap(), b"old and long");
        write(&one, true, "new").await.unwrap();
        assert_eq!(fs::read(&one).unwrap(), b"new");
        assert_eq!(fs::read(&other).unwrap(), b"new");
        assert_eq!(names(root.path()), ["one", "other"]);
    }

    #[tokio::test]
    async fn replaced_file_keeps_its_mode() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("secret");
        fs::write(&path, "old").unwrap();
        for (mode, expected) in [(0o600, 0o600), (0o4755, 0o755)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            write(&path, true, "new").await.unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, expected);
        }
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[tokio::test]
    async fn links_and_pipes_are_conflicts_without_following() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "old").unwrap();
        symlink("file", root.path().join("link")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.path().join("fifo")).status();
        assert!(made.unwrap().success());
        for name in ["link", "fifo"] {
            let failure = write(&root.path().join(name), false, "new").await.unwrap_err();
            assert_eq!(failure.exit(), Exit::Conflict, "{name}");
        }
        assert_eq!(fs::read(root.path().join("file")).unwrap(), b"old");
        assert_eq!(names(root.path()), ["fifo", "file", "link"]);
    }

    #[tokio::test]
    async fn named_pipe_is_written() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&path, true, "through").await.unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert_eq!(names(root.path()), ["fifo"]);
    }

    #[tokio::test]
    async fn waiting_for_a_pipe_reader_can_be_cancelled() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let create = Target::create(&path, true);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), create).await;
        assert!(waited.is_err());
        // Ends the blocked thread.
        drop(File::open(&path).unwrap());
    }

    #[tokio::test]
    async fn file_in_place_is_truncated_by_the_first_write() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "old and long").unwrap();
        // `with_part` fails here because the directory is missing.
        let old = Some(open_existing(&path, false).unwrap());
        let missing = root.path().join("no/file");
        assert!(Target::with_part(&path, missing, old).is_err());
        let file = open_existing(&path, false).unwrap();
        let mode = Mode::InPlace { truncated: false };
        let mut target = Target { file: file.into(), path: path.clone(), mode };
        assert!(!target.is_partly_written());
        assert_eq!(fs::read(&path).unwrap(), b"old and long");
        target.write(b"new").await.unwrap();
        assert!(target.is_partly_written());
        target.finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let file = open_existing(&path, false).unwrap();
        let mode = Mode::InPlace { truncated: false };
        Target { file: file.into(), path: path.clone(), mode }.finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
